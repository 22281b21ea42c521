/** The part of the library that the program uses, so that tests can put another in its place. */
import * as host from "@twinmetal/host";

export type {
  AdmissionFinding,
  CloudInitOptions,
  ConfinePlan,
  ControlOptions,
  ControlRequest,
  ControlServer,
  ControlStatus,
  DiskLimits,
  DiskOptions,
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
  MemoryAnswer,
  MigrationObstacle,
  MigrationProgress,
  MigrationResult,
  MigrationSecurity,
  NamedVms,
  NetworkOptions,
  OptionText,
  Policy,
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
  | "replayVm"
  | "ensureTinyImage"
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
  | "knownFirmware"
  | "variablesPath"
  | "explainEngine"
  | "engineFor"
  | "receiveVm"
  | "formatAddress"
  | "serveControl"
  | "askVm"
  | "NamedVms"
  | "VmPresence"
  | "confineAndRestart"
  | "takeConfined"
  | "admitVm"
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
  admissionText,
  allowedVerbs,
  DISK_LIMIT_RANGES,
  defaultPolicyPath,
  listenAt,
  SavedState,
  specWords,
  usageRates,
  VmControl,
  VmStore,
  whyNotListening,
} from "@twinmetal/host";

export const VM_LIBRARY: VmLibrary = host;
