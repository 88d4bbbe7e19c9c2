"""The command line with an emulated gamepad whose operator presses what the environment variable PRESSES says, a few steps apart, and then Ctrl-C."""

import os
import sys

from mimicctl.cli.app import main
from mimicctl.devices import gamepad
from tests.devices.virtual_pad import VirtualPad, plugged_in

pad = VirtualPad("Red Pad")
gamepad._find = plugged_in(pad)
presses, looks = os.environ["PRESSES"].split(), 0
look = gamepad.Gamepad.read
APART = 12


def read(self):
    global looks
    looks += 1
    if looks % APART == 0:
        if not presses:
            raise KeyboardInterrupt
        pad.tap(presses.pop(0))
    pad.push("LEFTX", 0.5)
    return look(self)


gamepad.Gamepad.read = read
sys.argv[0] = "mimicctl"
main()
