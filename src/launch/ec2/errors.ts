/** What EC2, IAM and SSM answer, in the words of this program: what happened, and what to do about it. */
import { HawserError } from "../../common/errors.ts";
import type { ErrorCode } from "../../common/errors.ts";

/** What an SDK error carries. */
interface ServiceError {
  name: string;
  message: string;
}

export function isServiceError(error: unknown, ...names: string[]): error is ServiceError {
  return error instanceof Error && (names.length === 0 || names.includes(error.name));
}

/** Answers that mean: not here, not now; the next offer may do. */
const CAPACITY = new Set([
  "InsufficientInstanceCapacity",
  "InsufficientHostCapacity",
  "InsufficientCapacity",
  "InsufficientFreeAddressesInSubnet",
  "SpotMaxPriceTooLow",
  "UnfulfillableCapacity",
  "Unsupported",
  "UnsupportedOperation",
  "MaxSpotInstanceCountExceeded",
  "VcpuLimitExceeded",
  "InstanceLimitExceeded",
]);

/** Whether another type, zone or market may still do. */
export function mayFallOver(code: string | undefined): boolean {
  return code !== undefined && CAPACITY.has(code);
}

/**
 * Whether EC2 does not know an instance profile yet: IAM made it a moment ago, and tells EC2 in its own time. The code is
 * that of any wrong parameter, so the text decides.
 */
export function isUnknownProfile(code: string | undefined, message: string): boolean {
  return code === "InvalidParameterValue" && /iam ?instance ?profile/i.test(message);
}

/** A failure of a launch in a sentence, with what to do. */
export function explainLaunch(code: string | undefined, message: string, region: string): string {
  switch (code) {
    case "InsufficientInstanceCapacity":
    case "InsufficientCapacity":
    case "UnfulfillableCapacity":
      return `${region} has no capacity for it right now; name more instanceTypes, another region, or try later`;
    case "SpotMaxPriceTooLow":
      return "the spot price has risen above what was offered; take allocation: spot-if-available";
    case "MaxSpotInstanceCountExceeded":
      return "your quota of spot vCPUs is used up; ask for more under Service Quotas (EC2, 'Spot Instance Requests'), or take allocation: on-demand";
    case "VcpuLimitExceeded":
    case "InstanceLimitExceeded":
      return `your quota of vCPUs for this kind of instance in ${region} is used up; end other instances or ask for more under Service Quotas (EC2, 'Running On-Demand … instances')`;
    case "InsufficientFreeAddressesInSubnet":
      return "the subnet has no free address; name other subnets";
    case "AddressLimitExceeded":
      return `your quota of Elastic IP addresses in ${region} is used up; ask for more under Service Quotas (EC2), or write address: private`;
    case "InvalidAMIID.NotFound":
    case "InvalidAMIID.Malformed":
      return `the image does not exist in ${region}; images belong to one region, so give another ami or region`;
    case "InvalidSubnetID.NotFound":
    case "InvalidVpcID.NotFound":
    case "InvalidGroup.NotFound":
    case "InvalidKeyPair.NotFound":
      return `${message.replace(/\.$/, "")}; each belongs to one region, and the pool is in ${region}: name one of that region, or write region:`;
    default:
      return message;
  }
}

/**
 * Turns what a service said into a HawserError.
 *
 * @param action as policies name it, e.g. `ec2:CreateFleet`
 */
export function explainError(error: unknown, action: string, region: string): HawserError {
  if (HawserError.is(error)) return error;
  if (!isServiceError(error)) return new HawserError("internal", String(error), { cause: error });
  const { name, message } = error;
  const say = (code: ErrorCode, text: string): HawserError => new HawserError(code, text, { cause: error });
  switch (name) {
    case "UnauthorizedOperation":
    case "AccessDenied":
    case "AccessDeniedException": {
      const missing = /perform:? ([a-z0-9-]+:[A-Za-z]+)/.exec(message)?.[1] ?? action;
      return say(
        "access_denied",
        `Your credentials lack the permission ${missing}; 'hawser pool policy' prints what a user needs.`,
      );
    }
    case "AuthFailure":
    case "InvalidClientTokenId":
    case "UnrecognizedClientException":
    case "SignatureDoesNotMatch":
      return say(
        "credentials_invalid",
        `AWS does not accept the credentials in ${region}; check them, and whether your account has that region switched on.`,
      );
    case "ExpiredToken":
    case "ExpiredTokenException":
    case "RequestExpired":
      return say("credentials_expired", "The credentials have expired; renew them and try again.");
    case "OptInRequired":
      return say("provision_failed", `Your account has ${region} not switched on; use another region.`);
    case "CredentialsProviderError":
      return say(
        "credentials_missing",
        "No AWS credentials were found; run 'aws configure' or set a profile.",
      );
  }
  const { code } = error as { code?: string };
  if (code === "ENOTFOUND") {
    return say("wrong_region", `There is no EC2 at ${region}; write a region such as eu-central-1.`);
  }
  if (code === "EAI_AGAIN" || code === "ECONNREFUSED" || code === "ETIMEDOUT" || name === "TimeoutError") {
    return say("endpoint_unreachable", `EC2 in ${region} cannot be reached (${code ?? name}).`);
  }
  const explained = explainLaunch(name, message, region);
  return say("provision_failed", `${action} failed: ${explained.replace(/\.$/, "")} (${name}).`);
}
