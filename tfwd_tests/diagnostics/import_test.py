"""What `import tfwd.diagnostics` does not import."""

import os
import subprocess
import sys


def test_room_needs_neither_tensorflow_on_jax_nor_pictures():
    program = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "import tfwd\n"
        "assert 'tfwd.diagnostics' not in sys.modules\n"
        "assert {'decay_exclusions', 'diagnostics'} <= set(dir(tfwd))\n"
        "module = tfwd.diagnostics\n"
        "assert [n for n in module.__all__ if not hasattr(module, n)] == []\n"
        "assert dir(module) == sorted(module.__all__)\n"
        "assert tfwd.decay_exclusions is module.decay_scope.patterns\n"
        "assert 'tfwd.diagnostics.mechanism_plots' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert result.returncode == 0, result.stderr
