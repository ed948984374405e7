"""Files of runs and studies: record.json, study.json and the files next to them.

Each file has one schema, one reader and one writer. Imports nothing heavy, so that a study can
check its runs before torch is imported. docs/run_files.md describes the formats.
"""
