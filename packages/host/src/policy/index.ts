export { type AdmissionFinding, admissionFindings, type HostSize, type VmPromise } from "./admission.ts";
export {
  type AdmissionRules,
  cardUnderPolicy,
  checkPolicy,
  type Policy,
  PolicyError,
  type PolicyErrorCode,
} from "./policy.ts";
export { defaultPolicyPath, readPolicy } from "./policy-file.ts";
export {
  type AdmissionOptions,
  admissionText,
  admitVm,
  examineAdmission,
  hostSize,
  type RunningPlace,
  withdrawVm,
} from "./running-vms.ts";
