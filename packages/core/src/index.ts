/**
 * What other packages may use of the machine. Nothing here needs the instruction records, which are megabytes once they
 * are loaded: what does is in `@twinmetal/core/engine` and `@twinmetal/core/translation`, for the threads that run and translate.
 */

export { ACTIVITY_NAMES } from "./cpu/activity.ts";
export { CPUID_LEAVES, type CpuidContext, cpuidLeaf } from "./cpu/cpuid.ts";
export { CPUID_ROWS, type CpuidRow } from "./cpu/cpuid-table.ts";
export { checkFeatureChoice, decodedFeatures, featureSet, featuresOfKind } from "./cpu/features.ts";
export { KeptMsrs } from "./cpu/kept-msrs.ts";
export { tableBytesBelowRam } from "./cpu/layout.ts";
export { physicalAddress } from "./cpu/linear-address.ts";
export { constantMsr, ignoresMsrWrite } from "./cpu/msr-table.ts";
export { resetState } from "./cpu/reset-state.ts";
export type { DescriptorTable, SegmentRegister, VcpuState } from "./cpu/state.ts";
export { type TrayAction, type TrayState, trayBytes, trayChannel } from "./devices/ahci/cd-tray.ts";
export { AhciController } from "./devices/ahci/controller.ts";
export {
  BLOCK_LIMITS,
  BLOCK_OPERATIONS,
  type BlockBackend,
  type BlockCompletion,
  type BlockOperation,
  type BlockRequest,
} from "./devices/block-channel.ts";
export { FLASH_REPORT_HEADER_BYTES } from "./devices/cfi-flash.ts";
export { CPUS_CHANNEL } from "./devices/cpu-hotplug.ts";
export { DEBUG_CHANNEL } from "./devices/debug-port.ts";
export { DiskBays, MAX_DISK_BAYS } from "./devices/disk-bays.ts";
export { ERRNO, MAX_ERRNO } from "./devices/files/errno.ts";
export { FILE_LIMITS, type FileBackend, type FileCompletion } from "./devices/files/file-channel.ts";
export {
  type AttributeChanges,
  type DirectoryEntry,
  decodeAttributes,
  decodeEntries,
  decodeRequest,
  decodeTarget,
  encodeAttributes,
  encodeEntries,
  encodeStatistics,
  encodeTarget,
  type FileAccessMode,
  type FileAttributes,
  type FileNode,
  type FileRequest,
  isFileName,
  type OpenFile,
  type ReadDirectory,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type SentRequest,
} from "./devices/files/file-requests.ts";
export { FloppyController } from "./devices/floppy/controller.ts";
export { KEYBOARD_LAYOUTS, type KeyboardLayout, KeyError } from "./devices/i8042/layouts.ts";
export { MAX_TYPED_CHARACTERS, pressedKeys, typedText } from "./devices/i8042/typing.ts";
export { IdeController } from "./devices/ide/controller.ts";
export { macBytes, NETWORK_LIMITS, type NetworkBackend, type ReceivedFrame } from "./devices/network-channel.ts";
export { Uart16550 } from "./devices/uart-16550.ts";
export { renderScreen, type ScreenImage } from "./devices/vga/render.ts";
export { screenText } from "./devices/vga/screen-text.ts";
export { Vga } from "./devices/vga/vga.ts";
export {
  BALLOON_PAGE_BYTES,
  type BalloonStatistics,
  decodeBalloonReports,
  encodeBalloonRequest,
} from "./devices/virtio/balloon-messages.ts";
export { CONSOLE_WINDOW_BYTES } from "./devices/virtio/console.ts";
export {
  decodePortReport,
  encodePortCommand,
  type PortCommand,
  type PortReport,
} from "./devices/virtio/console-control.ts";
export { decodeBlocks, encodeBlocks, MEM_BLOCK_BYTES } from "./devices/virtio/mem-messages.ts";
export {
  decodeVsockHeader,
  decodeVsockMessages,
  encodePacketMessage,
  encodeTransportReset,
  encodeVsockPacket,
  VSOCK_HEADER_BYTES,
  VSOCK_HOST_CID,
  VSOCK_OP,
  VSOCK_SHUTDOWN,
  VSOCK_TYPE_STREAM,
  VSOCK_WINDOW_BYTES,
  type VsockHeader,
} from "./devices/virtio/vsock-packet.ts";
export { GENERATION_CHANNEL, GENERATION_ID_BYTES } from "./devices/vm-generation.ts";
export { WATCHDOG_ACTIONS, WATCHDOG_CHANNEL, type WatchdogAction } from "./devices/watchdog.ts";
export {
  type Breakpoint,
  type DebugPlan,
  type DebugRequest,
  type DebugStop,
  debugControl,
  debugPlan,
  debugStopOf,
  MAX_HARDWARE_BREAKPOINTS,
  MAX_SOFTWARE_BREAKPOINTS,
} from "./engine/debugging.ts";
export type { DirtyTracking, Engine, ParallelVcpus, Vcpu, VcpuBus, VcpuExit } from "./engine/engine.ts";
export type { JitEngine, JitEngineOptions, Tier } from "./engine/jit-engine.ts";
export type { BootFile, FileReader } from "./firmware/boot-file.ts";
export { bootModules, type KernelKind, kernelKindOf, planKernelBoot } from "./firmware/kernel-boot.ts";
export { type LinuxBootOptions, type LinuxBootPlan, planLinuxBoot } from "./firmware/linux-boot.ts";
export { LinuxBootError, type LinuxBootErrorCode } from "./firmware/linux-boot-error.ts";
export { coreImage } from "./interp/prebuilt.ts";
export { type LinkedRegions, readLinked, writeLinked } from "./jit/linked-regions.ts";
export { type BlobStore, type PoolName, poolNames, type TranslationCacheOptions } from "./jit/pool-names.ts";
export type { TranslationCache } from "./jit/translation-cache.ts";
export type { KeptTranslations, TranslatedBatch, TranslationBatch, Translator } from "./jit/translator.ts";
export { createBoard, KEYBOARD_CHANNEL, SERIAL_CHANNEL } from "./machine/board.ts";
export type { Board, BoardWiring } from "./machine/board-interface.ts";
export { FLASH_NAME, MEMORY_MAP } from "./machine/board-map.ts";
export { BOOT_CLASSES, type BootClass, bootClassOf } from "./machine/boot-order.ts";
export type { LinuxBoot } from "./machine/boot-spec.ts";
export type { ConsolePortSpec, DeviceSpec } from "./machine/device-spec.ts";
export { checkFloppyBytes, DISK_LIMITS, type DiskSpec, isDisk, isInBay, isRemovable } from "./machine/disk-spec.ts";
export { type ByteSink, EventRecorder } from "./machine/event-recorder.ts";
export { type ByteSource, EventReplay } from "./machine/event-replay.ts";
export {
  type EventLog,
  type MachineEvent,
  type PowerRequest,
  ReplayError,
  type ReplayErrorCode,
} from "./machine/events.ts";
export type { FileReference } from "./machine/file-reference.ts";
export {
  type CrashReport,
  Machine,
  MachineError,
  type MachineOptions,
  type MachineState,
  type SliceResult,
} from "./machine/machine.ts";
export type { RebootAction } from "./machine/machine-contract.ts";
export {
  machineForms,
  readSpec,
  rehearseSections,
  restoreMachine,
  restoreSections,
  saveMachine,
  saveSections,
} from "./machine/machine-state.ts";
export { bootRamOf, engineRamOf, MEMORY_LIMITS } from "./machine/memory-size.ts";
export { isCardInBay, isNetworkCard } from "./machine/network-card-spec.ts";
export type { BootFiles } from "./machine/power-on.ts";
export { checkRecording, recordedSpec, recordingHeader } from "./machine/recording.ts";
export { isShare, isShareTag, SHARE_KINDS, type ShareKind, type ShareSpec } from "./machine/share-spec.ts";
export {
  CPU_LIMITS,
  CPU_MODELS,
  checkSpec,
  type MachineSpec,
  machineSpec,
  type VgaSpec,
} from "./machine/spec.ts";
export { SpecError, type SpecErrorCode } from "./machine/spec-error.ts";
export type { DeviceMemory, DeviceMemoryKind } from "./memory/device-memory.ts";
export type { GuestMemory, MemorySegment } from "./memory/guest-memory.ts";
export { MAX_ROM_BYTES, PAGE_BYTES, Ram, type RamHolder, ramSegments } from "./memory/ram.ts";
export { MigrationError, type MigrationErrorCode, type MigrationObstacle } from "./migration/errors.ts";
export type { CancelSignal, MigrationLink, MigrationTime, PageCompressor } from "./migration/link.ts";
export { type Fate, type Hello, MIGRATION_ID_BYTES, type Release, type StateForm } from "./migration/messages.ts";
export { migrateVm, probeTarget } from "./migration/source.ts";
export {
  DEFAULT_MIGRATION_LIMITS,
  type MigrateOptions,
  type MigrationLimits,
  type MigrationProgress,
  type MigrationResult,
  type SourceVm,
  type StoppedVm,
} from "./migration/source-contract.ts";
export { type Destination, type HeldVm, type IncomingVm, type Reception, receiveVm } from "./migration/target.ts";
export { StateError, type StateErrorCode } from "./state/errors.ts";
export { StateFile, type StateSink, type StateSource } from "./state/file.ts";
export { type StreamHash, toHex } from "./state/sha256.ts";
