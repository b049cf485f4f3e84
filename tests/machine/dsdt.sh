#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# usage: dsdt.sh DSDT.AML: the compiled DSDT as ACPICA sees it: it disassembles, loads without complaint, and answers.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$1" "$work/dsdt.aml"
cd "$work"
n=0
failed=0
check() { # NAME COMMAND...
	n=$((n + 1))
	name=$1
	shift
	if "$@" > log 2>&1; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' log
		failed=1
	fi
}
run() { acpiexec -b "$1" dsdt.aml > run 2>&1; cat run; }
no_complaint() { ! grep -Ei 'warning|error|exception' run && grep -q '/0 Serial/Non/Cvt' run; }
compiles_again() { iasl -d dsdt.aml && iasl -we -p again dsdt.dsl; }
# The row of a routing table for INTx of a slot, in decimal: row SLOT PIN
row() {
	awk -v want="$(($1 * 4 + $2))" '
		/Contains 4 Elements/ { row++; field = 0; next }
		/\[Integer\]/ && row == want + 1 { printf "%s ", $NF }' run
}
routes() { # 1: I/O APIC, 0: 8259; SLOT PIN GSI
	run "execute \\_PIC $1;execute \\_SB.PCI0._PRT;execute \\_SB.PCI0._PRT" || return 1
	no_complaint || return 1
	want=$(printf '%016X %016X %016X %016X ' $(($2 * 65536 + 65535)) "$3" 0 "$4")
	[ "$(row "$2" "$3")" = "$want" ] || { echo "got $(row "$2" "$3"), want $want"; return 1; }
}
s5() { run 'execute \_S5' && no_complaint && grep -A1 'Contains 4' run | grep '0000000000000005'; }
osc() { # GUID's last byte, first dword returned
	run "execute \\_SB.PCI0._OSC (5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 $1) 1 3 (00 00 00 00 1F 00 00 00 1F 00 00 00)" &&
		no_complaint && grep "0000: $2 00 00 00 1F 00 00 00 1F 00 00 00" run
}
crs() { run 'resources \_SB.PCI0' && no_complaint; }

check 'disassembles, and compiles again without a warning' compiles_again
check 'INTA of slot 0 is GSI 16' routes 1 0 0 16
check 'INTD of slot 6 is GSI 17' routes 1 6 3 17
check 'INTB of slot 31 is GSI 16' routes 1 31 1 16
check 'without I/O APIC, INTA of slot 0 is IRQ 10' routes 0 0 0 10
check 'without I/O APIC, INTB of slot 2 is IRQ 11' routes 0 2 1 11
check 'S5 is SLP_TYP 5' s5
check '_OSC gives what is asked for' osc 66 00
check '_OSC refuses another UUID' osc 67 04
check 'resources of the host bridge can be walked' crs
echo "1..$n"
exit $failed
