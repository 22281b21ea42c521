/** The library for Node: VMs, their guests' agents, and images. */

export {
  type MachineSpec,
  MigrationError,
  type MigrationErrorCode,
  type MigrationObstacle,
  type MigrationProgress,
  type MigrationResult,
} from "@twinmetal/core";
export {
  type AgentCall,
  AgentError,
  type AgentErrorCode,
  type AgentInfo,
  type AgentKind,
  type AgentProcess,
  type FileReadOptions,
  type FileWriteOptions,
  type GuestAddress,
  type GuestAgent,
  type GuestInterface,
  type GuestOsInfo,
  type RunOptions,
  type RunResult,
  type TerminalOptions,
} from "./agent/index.ts";
export type { ControlStatus, MemoryAnswer, RegistersAnswer, ScreenAnswer } from "./control/control-answers.ts";
export { askControl } from "./control/control-client.ts";
export { ControlError } from "./control/control-error.ts";
export type { ControlOptions, ControlRequest, PlugNetwork } from "./control/control-request.ts";
export { type ControlServer, serveControl } from "./control/control-server.ts";
export { AGENT_PHASE, AGENT_TIMEOUT_MS } from "./control/control-streams.ts";
export { VmControl } from "./control/vm-control.ts";
export { CopyError, type CopyErrorCode } from "./copy/copy-error.ts";
export { type CopyFromVmOptions, type CopyOptions, type CopyResult, copyFromVm, copyToVm } from "./copy/copy-files.ts";
export {
  type DebianImage,
  type DebianImageOptions,
  type DebianPhase,
  type DebianProgress,
  ensureDebianImage,
  keptDebian,
  openDebianImage,
} from "./debian/index.ts";
export { type GdbAddress, type GdbServer, serveGdb } from "./debug/gdb-server.ts";
export {
  type CheckImageOptions,
  type ConvertImageOptions,
  type CreateImageOptions,
  checkImage,
  convertImage,
  createImage,
  DISK_LIMIT_RANGES,
  type DiskBus,
  type DiskLimits,
  type DiskOptions,
  type DiskProblem,
  type DiskUsage,
  filesOfDisks,
  firmwareOfImage,
  growImage,
  type ImageInfo,
  imageInfo,
  NodeImageFile,
  NodeImageFiles,
  nodeDecoders,
  type OpenImageFileOptions,
  type OpenNodeDiskOptions,
  openImageFile,
  openNodeDisk,
  type VmDisks,
} from "./disk/index.ts";
export {
  chooseEngine,
  type EngineExplanation,
  type EngineHost,
  type EngineImprovement,
  type EngineKind,
  type EngineRings,
  type ExplainOptions,
  explainEngine,
} from "./engine/engine-explanation.ts";
export {
  ensureFirmware,
  ensureNetworkRoms,
  FIRMWARE_KINDS,
  type FirmwareFiles,
  type FirmwareKind,
  knownFirmware,
} from "./firmware/firmware-files.ts";
export { keepVariables, variablesPath } from "./firmware/variable-store.ts";
export {
  type CloudInitOptions,
  type ContainerImage,
  type ContainerImageOptions,
  type ContainerProgram,
  containerCommand,
  ensureCloudInitSeed,
  ensureContainerImage,
  ensureTinyImage,
  ImageError,
  type ImageErrorCode,
  type SeedOptions,
  type TinyImage,
  type TinyImageOptions,
  type TinyKernel,
  type TinyPhase,
  type TinyProgress,
} from "./image/index.ts";
export {
  KVM_DEVICE,
  type KvmFacts,
  type KvmFinding,
  type KvmFindingCode,
  type KvmProbe,
  type ProbeOptions,
  probeKvm,
} from "./kvm/probe.ts";
export type { SelfTestFailure, SelfTestResult, SelfTestStep } from "./kvm/self-test.ts";
export {
  AUTOSTART_STOP_S,
  allowedVerbs,
  askVm,
  autostartUnit,
  autostartUnitName,
  autostartUnitPath,
  type CloneVmOptions,
  copyState,
  type EndChange,
  FolderState,
  hasProcess,
  isAllowed,
  isVmName,
  keptDisks,
  keptImage,
  LifecycleError,
  type LifecycleErrorCode,
  type LifecycleState,
  type LifecycleVerb,
  lingers,
  NamedVms,
  type OptionText,
  type ProcessLaunch,
  type RunEnd,
  type RunEndKind,
  type RunRestarts,
  removeUnit,
  type StartVmOptions,
  type StopVmOptions,
  savedDiscs,
  specWords,
  timeToLive,
  type VmFolder,
  type VmObservation,
  VmPresence,
  type VmSpec,
  VmStore,
  withDiscs,
  writeUnit,
  writtenImage,
} from "./lifecycle/index.ts";
export type { MigrationAddress, MigrationSecurity, TlsFiles } from "./migration/address.ts";
export { formatAddress } from "./migration/address.ts";
export { type ReceiveVmOptions, receiveVm } from "./migration/incoming.ts";
export type { MigrateVmOptions, MigrationChoice } from "./migration/outgoing.ts";
export { libraryVersion } from "./migration/version.ts";
export {
  type CardLimits,
  type ForwardOptions,
  NETWORK_MODELS,
  type NetworkModel,
  type NetworkOptions,
  type NetworkProblem,
  type SwitchCard,
  switchCards,
  switchCardsOfSpec,
  switchSocket,
  type VmNetwork,
} from "./network/index.ts";
export {
  type AdmissionFinding,
  type AdmissionOptions,
  type AdmissionRules,
  admissionFindings,
  admissionText,
  admitVm,
  cardUnderPolicy,
  checkPolicy,
  defaultPolicyPath,
  examineAdmission,
  type HostSize,
  hostSize,
  type Policy,
  PolicyError,
  type PolicyErrorCode,
  type RunningPlace,
  readPolicy,
  type VmPromise,
  withdrawVm,
} from "./policy/index.ts";
export { changeResources, type ResourceChange } from "./resources/resource-change.ts";
export type { CpuLimits, HardLimits, VmLimits, VmLimitsChange } from "./resources/vm-limits.ts";
export type { VmResources } from "./resources/vm-resources.ts";
export type { CpuUsage, MemoryUsage, VmUsage } from "./resources/vm-usage.ts";
export { type UsageRates, usageRates } from "./resources/why-slow.ts";
export {
  type Confined,
  type ConfinePlan,
  confineAndRestart,
  type FileAccess,
  type FileRule,
  missingLayers,
  type ResourceLimits,
  SandboxError,
  type SandboxErrorCode,
  type SandboxFinding,
  type SandboxLayer,
  type SealOptions,
  sandboxSupport,
  seal,
  takeConfined,
} from "./sandbox/index.ts";
export { filesOfShares, type ShareOptions, type ShareType } from "./share/index.ts";
export { type ListenOptions, listenAt, type SocketAddress, whyNotListening } from "./socket/listen-at.ts";
export { createVm, DEFAULT_MEMORY_BYTES } from "./vm/create-vm.ts";
export { type EngineQuestion, type EngineWish, engineFor } from "./vm/engine-choice.ts";
export type { EngineSwitchOptions, EngineSwitchResult } from "./vm/engine-switch.ts";
export { replayVm } from "./vm/replay-vm.ts";
export { readStateSpec, restoreVm } from "./vm/restore-vm.ts";
export { yieldCompilerThreads } from "./vm/thread-priority.ts";
export { translationDirectory } from "./vm/translation-store.ts";
export type {
  DebugMemoryOptions,
  ExecOptions,
  ExecResult,
  OpenStateFile,
  ReplayOptions,
  ReplayResult,
  RestoreOptions,
  Screen,
  SerialPort,
  TranslationCacheChoice,
  Vm,
  VmDebugger,
  VmDebugStop,
  VmEvents,
  VmExit,
  VmMemory,
  VmOptions,
  VmProgress,
  VmState,
  VsockOptions,
} from "./vm/vm.ts";
export { VmError, type VmErrorCode } from "./vm/vm-error.ts";
export type { VmRegisters } from "./vm/worker-protocol.ts";
export type { VmSockets } from "./vsock/vm-sockets.ts";
