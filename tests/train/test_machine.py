from massact.stages.verify import _why
from massact.train.machine import described, machine

CPU = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: {}\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n"


def test_processors_of_one_name_are_told_apart():
    assert described(CPU.format(25)) == "AMD EPYC (family 25, model 1)"
    assert described(CPU.format(25) + "\n" + CPU.format(23)) == "AMD EPYC (family 25, model 1)"
    assert described(CPU.format(23)) != described(CPU.format(25))
    assert described("") == described("nothing known")


def test_a_table_made_elsewhere_says_where():
    here = machine(1)
    assert _why({"machine": here}, 1) == "the machine is of the same type: please report it"
    reason = _why({"machine": {**here, "processor": "AMD EPYC"}}, 1)
    assert reason == f"processor {here['processor']} here, AMD EPYC there"
