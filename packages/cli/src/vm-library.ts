/** The part of the library that the program uses, so that tests can put another in its place. */
import * as host from "@twinmetal/host";

export type {
  AdmissionFinding,
  AgentInfo,
  CloudInitOptions,
  ConfinePlan,
  ControlOptions,
  ControlRequest,
  ControlServer,
  ControlStatus,
  CopyResult,
  DebianImage,
  DiskLimits,
  DiskOptions,
  EndChange,
  EngineExplanation,
  EngineQuestion,
  EngineSwitchResult,
  ExecResult,
  FileRule,
  ForwardOptions,
  GdbAddress,
  GdbServer,
  ImageInfo,
  LifecycleState,
  LifecycleVerb,
  MachineSpec,
  MemoryAnswer,
  MigrationObstacle,
  MigrationProgress,
  MigrationResult,
  MigrationSecurity,
  NamedVms,
  NetworkOptions,
  OptionText,
  PlugNetwork,
  Policy,
  RegistersAnswer,
  ReplayResult,
  ResourceChange,
  SandboxFinding,
  ScreenAnswer,
  ShareOptions,
  StartVmOptions,
  TinyImage,
  UsageRates,
  Vm,
  VmExit,
  VmFolder,
  VmLimits,
  VmObservation,
  VmOptions,
  VmPresence,
  VmProgress,
  VmPromise,
  VmSpec,
  VmUsage,
  VsockOptions,
} from "@twinmetal/host";

export type { CheckResult } from "@twinmetal/storage";

export type VmLibrary = Pick<
  typeof host,
  | "createVm"
  | "restoreVm"
  | "readStateSpec"
  | "replayVm"
  | "ensureTinyImage"
  | "ensureDebianImage"
  | "keptDebian"
  | "ensureCloudInitSeed"
  | "ensureContainerImage"
  | "containerCommand"
  | "firmwareOfImage"
  | "ensureFirmware"
  | "ensureNetworkRoms"
  | "filesOfDisks"
  | "filesOfShares"
  | "keepVariables"
  | "keptDisks"
  | "keptImage"
  | "writtenImage"
  | "knownFirmware"
  | "variablesPath"
  | "explainEngine"
  | "engineFor"
  | "receiveVm"
  | "formatAddress"
  | "serveControl"
  | "askVm"
  | "copyFromVm"
  | "copyToVm"
  | "NamedVms"
  | "VmPresence"
  | "confineAndRestart"
  | "takeConfined"
  | "admitVm"
  | "withdrawVm"
  | "readPolicy"
  | "examineAdmission"
  | "seal"
  | "serveGdb"
  | "sandboxSupport"
  | "switchSocket"
  | "createImage"
  | "imageInfo"
  | "checkImage"
  | "growImage"
  | "convertImage"
>;

export {
  AUTOSTART_STOP_S,
  admissionText,
  allowedVerbs,
  autostartUnit,
  autostartUnitName,
  autostartUnitPath,
  cardUnderPolicy,
  copyState,
  DISK_LIMIT_RANGES,
  defaultPolicyPath,
  FolderState,
  hasProcess,
  isAllowed,
  lingers,
  listenAt,
  removeUnit,
  savedDiscs,
  specWords,
  switchCards,
  switchCardsOfSpec,
  usageRates,
  VmControl,
  VmStore,
  whyNotListening,
  withDiscs,
  writeUnit,
} from "@twinmetal/host";

export const VM_LIBRARY: VmLibrary = host;
