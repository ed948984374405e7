"""Files of runs and studies: record.json, study.json and the files next to them.

One schema, one reader and one writer for everybody. Needs nothing but the standard library, so that
a study can look at its runs before anything heavy is imported. docs/run_files.md has the formats.
"""
