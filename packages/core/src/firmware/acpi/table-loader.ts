/**
 * The script by which firmware places ACPI tables (QEMU's hw/acpi/bios-linker-loader, "etc/table-loader"): files to load,
 * addresses to add, checksums to make. Entries of 128 bytes, little-endian.
 */
import { ascii, concat, littleEndian } from "./aml.ts";
import { type AcpiImage, CHECKSUM_OFFSET, GENERATION, RSDP } from "./tables.ts";

const ENTRY_BYTES = 128;
const NAME_BYTES = 56;
const COMMAND = { ALLOCATE: 1, ADD_POINTER: 2, ADD_CHECKSUM: 3, WRITE_POINTER: 4 } as const;
/** HIGH: anywhere below 4 GiB; FSEG: where the root pointer is looked for. */
const ZONE = { HIGH: 1, FSEG: 2 } as const;

export const ACPI_FILE = { TABLES: "etc/acpi/tables", RSDP: "etc/acpi/rsdp", LOADER: "etc/table-loader" } as const;
/** The page of the generation identifier, and where firmware writes the page's address. */
export const GENERATION_FILE = { PAGE: "etc/vmgenid_guid", ADDRESS: "etc/vmgenid_addr" } as const;
const TABLES_ALIGNMENT = 64;
const RSDP_ALIGNMENT = 16;

export function tableLoader(image: AcpiImage): Uint8Array {
  const { TABLES, RSDP: ROOT } = ACPI_FILE;
  return concat(
    allocate(TABLES, TABLES_ALIGNMENT, ZONE.HIGH),
    allocate(ROOT, RSDP_ALIGNMENT, ZONE.FSEG),
    allocate(GENERATION_FILE.PAGE, GENERATION.PAGE_BYTES, ZONE.HIGH),
    addPointer(TABLES, GENERATION_FILE.PAGE, image.generationAddressAt, 4),
    entry(
      COMMAND.WRITE_POINTER,
      fileName(GENERATION_FILE.ADDRESS),
      fileName(GENERATION_FILE.PAGE),
      littleEndian(0, 4),
      littleEndian(0, 4),
      Uint8Array.of(8),
    ),
    ...image.pointers.map(({ at, sizeBytes }) => addPointer(TABLES, TABLES, at, sizeBytes)),
    ...image.summed.map(({ start, length }) => addChecksum(TABLES, start + CHECKSUM_OFFSET, start, length)),
    addPointer(ROOT, TABLES, RSDP.RSDT, 4),
    addPointer(ROOT, TABLES, RSDP.XSDT, 8),
    addChecksum(ROOT, RSDP.CHECKSUM, 0, RSDP.CHECKSUM_BYTES),
    addChecksum(ROOT, RSDP.EXTENDED_CHECKSUM, 0, RSDP.BYTES),
  );
}

function allocate(file: string, alignment: number, zone: number): Uint8Array {
  return entry(COMMAND.ALLOCATE, fileName(file), littleEndian(alignment, 4), Uint8Array.of(zone));
}

function addPointer(inFile: string, toFile: string, at: number, sizeBytes: number): Uint8Array {
  return entry(COMMAND.ADD_POINTER, fileName(inFile), fileName(toFile), littleEndian(at, 4), Uint8Array.of(sizeBytes));
}

/** Precondition: the byte at `at` is zero, for some loaders. */
function addChecksum(file: string, at: number, start: number, length: number): Uint8Array {
  return entry(
    COMMAND.ADD_CHECKSUM,
    fileName(file),
    littleEndian(at, 4),
    littleEndian(start, 4),
    littleEndian(length, 4),
  );
}

function entry(command: number, ...fields: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(ENTRY_BYTES);
  bytes.set(concat(littleEndian(command, 4), ...fields));
  return bytes;
}

function fileName(name: string): Uint8Array {
  const bytes = new Uint8Array(NAME_BYTES);
  bytes.set(ascii(name));
  return bytes;
}
