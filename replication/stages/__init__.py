"""One module a stage of dvc.yaml: files and settings in, one call, files out."""
