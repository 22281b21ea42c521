/** What a machine starts from: a kernel, or firmware with its variables. */
import type { StateValue } from "../devices/device.ts";
import { MAX_ROM_BYTES, PAGE_BYTES } from "../memory/ram.ts";
import type { StateReader } from "../state/reader.ts";
import { checkFile, type FileReference, fileFields, fileFromState } from "./file-reference.ts";
import { SpecError } from "./spec-error.ts";

const MAX_COMMAND_LINE = 65_535;
const MAX_MODULES = 32;

/** A kernel without firmware: Linux, or another that starts by PVH or Multiboot. */
export interface LinuxBoot {
  readonly kernel: FileReference;
  readonly initrd?: FileReference;
  /** Of Multiboot and PVH kernels, in front of the initrd. Default: none. */
  readonly modules?: readonly ModuleReference[];
  readonly commandLine: string;
}

export interface ModuleReference {
  readonly file: FileReference;
  readonly commandLine: string;
}

export function bootFields({ kernel, initrd, commandLine, modules }: LinuxBoot): {
  readonly [key: string]: StateValue;
} {
  return {
    kernel: fileFields(kernel),
    initrd: initrd ? fileFields(initrd) : null,
    commandLine,
    ...(modules && {
      modules: modules.map((module) => ({ file: fileFields(module.file), commandLine: module.commandLine })),
    }),
  };
}

export function bootFromState(reader: StateReader): LinuxBoot {
  const boot: LinuxBoot = {
    kernel: fileFromState(reader.object("kernel")),
    ...(reader.part("initrd") === null ? {} : { initrd: fileFromState(reader.object("initrd")) }),
    commandLine: reader.text("commandLine", MAX_COMMAND_LINE),
    ...(reader.has("modules") ? { modules: reader.array("modules", MAX_MODULES).map(moduleFromState) } : {}),
  };
  reader.end();
  return boot;
}

function moduleFromState(reader: StateReader): ModuleReference {
  const module = {
    file: fileFromState(reader.object("file")),
    commandLine: reader.text("commandLine", MAX_COMMAND_LINE),
  };
  reader.end();
  return module;
}

/** Throws SpecError. */
export function checkBoot(boot: LinuxBoot): void {
  checkFile("boot", "kernel", boot.kernel);
  if (boot.initrd) checkFile("boot", "initrd", boot.initrd);
  const { modules = [] } = boot;
  for (const { file } of modules) checkFile("boot", "module", file);
  if (modules.length > MAX_MODULES) {
    throw new SpecError("boot", `${modules.length} modules are too many: at most ${MAX_MODULES} are possible.`);
  }
  if (boot.commandLine.length > MAX_COMMAND_LINE) {
    throw new SpecError(
      "boot",
      `The command line has ${boot.commandLine.length} characters; at most ${MAX_COMMAND_LINE} fit.`,
    );
  }
}

interface FirmwareOfSpec {
  readonly boot?: LinuxBoot;
  readonly firmware?: FileReference;
  readonly variables?: FileReference;
}

/** Throws SpecError. */
export function checkFirmware({ boot, firmware, variables }: FirmwareOfSpec): void {
  if (firmware) checkRom(firmware, boot);
  if (variables) checkVariables(variables, firmware);
}

function checkRom(firmware: FileReference, boot: LinuxBoot | undefined): void {
  if (boot) {
    throw new SpecError("firmware", "A machine starts from a kernel or from firmware, not from both. Leave one out.");
  }
  checkFile("firmware", "firmware", firmware);
  const { sizeBytes } = firmware;
  if (sizeBytes >= PAGE_BYTES && sizeBytes <= MAX_ROM_BYTES && sizeBytes % PAGE_BYTES === 0) return;
  throw new SpecError(
    "firmware",
    `Firmware of ${sizeBytes} bytes does not fit. Give an image of whole pages of 4 KiB, at most 16 MiB.`,
  );
}

function checkVariables(variables: FileReference, firmware: FileReference | undefined): void {
  if (!firmware)
    throw new SpecError("firmware", "Variables of firmware need the firmware. Give it, or leave them out.");
  checkFile("firmware", "firmware's variables", variables);
  const { sizeBytes } = variables;
  if (sizeBytes > 0 && sizeBytes % PAGE_BYTES === 0 && sizeBytes + firmware.sizeBytes <= MAX_ROM_BYTES) return;
  throw new SpecError(
    "firmware",
    `Variables of ${sizeBytes} bytes do not fit. Give an image of whole pages of 4 KiB, with the firmware at most 16 MiB.`,
  );
}
