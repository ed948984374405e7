import subprocess
import sys


def test_room_needs_numpy_and_scipy_alone():
    program = (
        "import sys, optlab.numpy_net, optlab.numpy_net.gradient_check\n"
        "heavy = {'torch', 'lightning', 'hydra', 'omegaconf', 'sklearn', 'pandas', 'matplotlib'}\n"
        "others = ('analysis', 'data', 'models', 'optim', 'plots', 'report', 'runs', 'studies', "
        "'training', 'web')\n"
        "rooms = {f'optlab.{room}' for room in others}\n"
        "print(sorted((heavy | rooms) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
