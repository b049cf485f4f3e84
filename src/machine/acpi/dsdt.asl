/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT: what the board has that cannot be found by itself (ACPI 6.3, chapters 6 and 7; PCI
 * Firmware 3.2, chapter 4). CPUs and I/O APIC are in the MADT, ECAM is in the MCFG.
 */
#include "layout.h"

DefinitionBlock ("", "DSDT", 2, "SUBRNG", "SUBRBORD", 1)
{
	/* S5 is SLP_TYP 5 (chip/acpi_pm.h, ACPI_PM_SLP_TYP_S5). */
	Name (_S5, Package () { 5, 0, 0, 0 })

	/* 0: the guest uses the 8259 pair, 1: the I/O APIC. */
	Name (PICM, 0)
	Method (_PIC, 1)
	{
		PICM = Arg0
	}

	/*
	 * A routing table: INTx (Local1 & 3) of slot (Local1 >> 2) is line (slot + x) & Arg1 from
	 * interrupt Arg0.
	 */
	Method (ROUT, 2, Serialized)
	{
		Local0 = Package (128) {}
		For (Local1 = 0, Local1 < 128, Local1++) {
			Local2 = Package (4) { 0, 0, 0, 0 }
			Local2[0] = ((Local1 >> 2) << 16) | 0xFFFF
			Local2[1] = Local1 & 3
			Local2[3] = Arg0 + (((Local1 >> 2) + (Local1 & 3)) & Arg1)
			Local0[Local1] = Local2
		}
		Return (Local0)
	}

	Scope (_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_SEG, 0)
			Name (_BBN, 0)

			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0xFF, 0, 0x100)
				IO (Decode16, PORT_PCI_ADDRESS, PORT_PCI_ADDRESS, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0, 0x0CF7, 0, 0x0CF8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0D00, 0xFFFF, 0, 0xF300)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
					0, PCI_MMIO_BASE, PCI_MMIO_LAST, 0, PCI_MMIO_SIZE)
			})

			/* Built once: the guest asks again for every device. */
			Name (PRTA, 0)
			Name (PRTP, 0)
			Method (_PRT, 0, Serialized)
			{
				If (PICM) {
					If (ObjectType (PRTA) == 1) {
						CopyObject (ROUT (GSI_PCI, PCI_LINES_MASK), PRTA)
					}
					Return (PRTA)
				}
				If (ObjectType (PRTP) == 1) {
					CopyObject (ROUT (IRQ_PCI_EVEN, 1), PRTP)
				}
				Return (PRTP)
			}

			/* The guest may have all of PCI Express that it knows (PCI Firmware 3.2, 4.5). */
			Method (_OSC, 4, Serialized)
			{
				CreateDWordField (Arg3, 0, CDW1)
				If (Arg0 != ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766")) {
					CDW1 |= 4
				} ElseIf (Arg1 != 1) {
					CDW1 |= 8
				}
				Return (Arg3)
			}

			Device (COM1)
			{
				Name (_HID, EisaId ("PNP0501"))
				Name (_UID, 1)
				Name (_CRS, ResourceTemplate ()
				{
					IO (Decode16, PORT_COM1, PORT_COM1, 1, 8)
					IRQNoFlags () { IRQ_COM1 }
				})
			}

			Device (RTC)
			{
				Name (_HID, EisaId ("PNP0B00"))
				Name (_CRS, ResourceTemplate ()
				{
					IO (Decode16, PORT_RTC, PORT_RTC, 1, 4)
					IRQNoFlags () { IRQ_RTC }
				})
			}

			Device (KBD)
			{
				Name (_HID, EisaId ("PNP0303"))
				Name (_CRS, ResourceTemplate ()
				{
					IO (Decode16, PORT_KBD_DATA, PORT_KBD_DATA, 1, 1)
					IO (Decode16, PORT_KBD_COMMAND, PORT_KBD_COMMAND, 1, 1)
					IRQNoFlags () { IRQ_KBD }
				})
			}

			/* The port is there as on every PC; nothing is plugged into it. */
			Device (MOU)
			{
				Name (_HID, EisaId ("PNP0F13"))
				Name (_CRS, ResourceTemplate ()
				{
					IRQNoFlags () { IRQ_MOUSE }
				})
			}
		}

		/* What nobody else may use. */
		Device (RSVD)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, ECAM_BASE, ECAM_SIZE)
				IO (Decode16, PORT_PM, PORT_PM, 1, PORT_PM_LEN)
				IO (Decode16, PORT_ELCR, PORT_ELCR, 1, 2)
			})
		}
	}
}
