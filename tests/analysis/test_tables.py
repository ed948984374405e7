"""The table for papers."""

from dataclasses import replace

from made_studies import summary_of

from optlab.analysis.tables import latex_table


def test_latex_table_has_a_row_for_each_configuration_and_escapes_names(new_study):
    writer = new_study()
    for seed in range(5):
        writer.run("adam", seed, accuracy=0.98 + seed / 1e4, config={"data.train_fraction": 1.0})
        writer.run("sgd", seed, accuracy=0.97 + seed / 2e4, config={"data.train_fraction": 0.5})
    summary = summary_of(writer)
    workload = replace(summary.workload, title="50 % of my_images & more {x}\\y")
    text = latex_table(replace(summary, workload=workload))
    lines = text.splitlines()
    assert lines[0] == r"% \usepackage{booktabs}"
    assert r"50 \% of my\_images \& more \{x\}\textbackslash{}y" in text
    rows = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert len(rows) == 2
    assert {row.count(" & ") for row in rows} == {6}
    assert rows[0].startswith(r"Adam $\cdot$ train\_fraction=")
    assert rows[0].endswith(r"& - & - & - \\")
    assert rows[1].startswith(r"SGD with momentum $\cdot$ train\_fraction=")
    assert r"$\pm$" in rows[1]
    assert "$-$" in rows[1]
    assert text.isascii()
