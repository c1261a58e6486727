"""Where a single file's missing parts are is a path like the model's own."""

from trainer.job.file import load_job


def test_a_file_and_the_folder_with_its_parts_are_found_from_the_job_files_folder(tmp_path):
    (tmp_path / "models" / "parts").mkdir(parents=True)
    (tmp_path / "models" / "one.safetensors").write_bytes(b"")
    job = tmp_path / "job.toml"
    job.write_text(
        '[model]\nbase = "models/one.safetensors"\nparts_from = "models/parts"\n'
        '[dataset]\nfolder = "pictures"\n',
        encoding="utf-8",
    )
    model = load_job(job, []).model
    assert model.base == str(tmp_path / "models" / "one.safetensors")
    assert model.parts_from == str(tmp_path / "models" / "parts")


def test_a_name_on_the_hub_stays_a_name(tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        '[model]\nbase = "someone/model"\nparts_from = "someone/parts"\n'
        '[dataset]\nfolder = "pictures"\n',
        encoding="utf-8",
    )
    model = load_job(job, []).model
    assert (model.base, model.parts_from) == ("someone/model", "someone/parts")
