import subprocess
import sys

import optlab.data


def test_importing_the_package_and_availability_imports_no_torch():
    code = (
        "import sys, optlab.data, optlab.data.availability; "
        "print(sorted({'torch', 'lightning', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_exported_name_resolves():
    for name in optlab.data.__all__:
        assert getattr(optlab.data, name) is not None


def test_unknown_attribute_is_an_attribute_error():
    assert not hasattr(optlab.data, "load_sauce")


def test_reading_a_data_set_imports_no_lightning():
    code = "import sys; from optlab.data import load_dataset; print('lightning' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
