"""What the demo model is taught, and what is kept from it.

Names are the slugs of the emoji packages; a caption is the slug in words.
"""

import random
from collections.abc import Iterable


def slugs(text: str) -> list[str]:
    """The words of a list, which reads better than one quoted name a line."""
    return text.split()


ANIMALS = slugs("""
    bear butterfly cat-face cow-face crab dog-face duck elephant fish fox frog giraffe honeybee
    horse-face koala lady-beetle lion monkey-face mouse-face octopus owl panda parrot penguin
    pig-face rabbit-face shark snail snake turtle unicorn zebra
""")

PLANTS = slugs("""
    cactus mushroom sunflower rose tulip palm-tree evergreen-tree four-leaf-clover maple-leaf
    cherry-blossom
""")

FOODS = slugs("""
    avocado banana beer-mug birthday-cake broccoli carrot cheese-wedge cherries cookie croissant
    cupcake doughnut ear-of-corn eggplant french-fries grapes green-apple hamburger hot-beverage
    hot-dog lemon lollipop pancakes peach pear pineapple pizza popcorn pretzel red-apple
    soft-ice-cream strawberry taco tomato watermelon wine-glass
""")

FACES = slugs("""
    grinning-face smiling-face-with-heart-eyes smiling-face-with-sunglasses crying-face
    angry-face face-with-medical-mask nerd-face cowboy-hat-face clown-face hot-face cold-face
    alien ghost robot skull jack-o-lantern
""")

VEHICLES = slugs("""
    airplane ambulance automobile bicycle bus fire-engine helicopter rocket sailboat tractor
    flying-saucer
""")

PLACES = slugs("""
    house castle tent snowman sun crescent-moon cloud rainbow fire star snowflake umbrella
    volcano ringed-planet high-voltage christmas-tree
""")

OBJECTS = slugs("""
    alarm-clock anchor axe backpack balloon basketball bell bomb camera crown gem-stone glasses
    graduation-cap guitar hammer high-heeled-shoe key laptop light-bulb locked magnet microphone
    money-bag pencil red-heart running-shoe scissors soccer-ball t-shirt teddy-bear television
    top-hat trophy wrapped-gift
""")

TRAINED = ANIMALS + PLANTS + FOODS + FACES + VEHICLES + PLACES + OBJECTS
"""The concepts that the base can draw."""

VAE_ONLY = slugs("""
    ant lobster dolphin taxi locomotive motor-scooter chocolate-bar trumpet sleeping-face ring
    drum baby-chick hourglass-done dress spouting-whale
""")
"""Near doubles of trained concepts that the VAE sees and the UNet does not."""

SUBJECT = slugs("""
    grinning-cat grinning-cat-with-smiling-eyes cat-with-tears-of-joy
    smiling-cat-with-heart-eyes cat-with-wry-smile kissing-cat weary-cat crying-cat pouting-cat
""")
"""One character; kept from the VAE and the base in every style."""

STYLE = slugs("""
    red-apple dog-face rocket hamburger guitar automobile cactus crown fish house balloon
    mushroom
""")
"""Concepts that the base knows in its own styles and the style LoRA sees in 3D."""

CATEGORIES = (
    "Activities",
    "Animals & Nature",
    "Food & Drink",
    "Objects",
    "Smileys & Emotion",
    "Travel & Places",
)
DULL = ("oclock", "thirty", "-moon-face", "speech-bubble", "broken-chain", "head-shaking")
PLURALS = {"cherries", "french-fries", "grapes", "pancakes", "glasses", "scissors"}
ARTICLE_FREE = {"broccoli", "popcorn", "fire", "high-voltage"}
COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "red": (222, 82, 74),
    "orange": (247, 166, 88),
    "yellow": (250, 222, 110),
    "green": (112, 190, 112),
    "teal": (72, 180, 176),
    "blue": (98, 160, 232),
    "purple": (160, 122, 212),
    "pink": (246, 172, 196),
}
"""Plain backgrounds that a caption may name."""

STYLES = ("noto", "flat")
"""The styles that the base knows by name."""


def held_out(shared: Iterable[str], *, count: int = 90, seed: int = 7) -> list[str]:
    """Emoji that no training ever sees, drawn from those all three packs `shared` have."""
    known = set(TRAINED) | set(VAE_ONLY) | set(SUBJECT)
    rest = sorted(slug for slug in set(shared) - known if not any(d in slug for d in DULL))
    return sorted(random.Random(seed).sample(rest, count))


def phrase(slug: str) -> str:
    """A concept as a caption says it: "a red apple", "an owl", "cherries"."""
    words = slug.replace("-", " ")
    if slug in PLURALS | ARTICLE_FREE:
        return words
    vowel = words[0] in "aeio" or words.startswith(("umbrella", "hour"))
    return f"{'an' if vowel else 'a'} {words}"


def caption(slug: str, *, style: str | None = None, background: str = "white") -> str:
    """A whole caption, e.g. "a red apple, flat style, on a blue background"."""
    parts = [phrase(slug)]
    if style:
        parts.append(f"{style} style")
    text = ", ".join(parts)
    if background == "white":
        return text
    return f"{text}, on {'an' if background[0] == 'o' else 'a'} {background} background"
