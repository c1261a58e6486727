"""What pip-audit tells becomes lines, and silence is not taken for safety."""

from tests.audit import unasked, vulnerable

TOLD = [
    {"name": "fine", "version": "1", "vulns": []},
    {
        "name": "bad",
        "version": "2",
        "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}, {"id": "CVE-2", "fix_versions": []}],
    },
    {"name": "absent", "skip_reason": "Dependency not found on PyPI"},
    {"name": "sweetspot", "skip_reason": "distribution marked as editable"},
]


def test_each_advisory_has_a_line_with_what_mends_it():
    assert vulnerable(TOLD) == [
        "bad 2: CVE-1, mended in 2.1",
        "bad 2: CVE-2, mended in no version",
    ]


def test_what_no_database_answered_for_is_told_but_for_ourselves():
    assert unasked(TOLD) == ["absent"]
