/** Whether a given instance profile allows what the pool needs, as IAM itself simulates it. */
import { toHawserError } from "../../common/errors.ts";
import type { Check, ProviderContext } from "../provider.ts";
import { unless } from "./clients.ts";
import type { Clients } from "./clients.ts";
import { nodePolicy } from "./policy.ts";
import { accessOf, givenProfile } from "./profile.ts";

/** Each of what a node does, once: asked about one bucket and prefix. */
const READS = ["s3:GetObject"];
const WRITES = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"];

/** @throws HawserError `provision_failed` when there is no such profile */
export async function profileChecks(
  clients: Clients,
  context: Pick<ProviderContext, "volumes" | "config">,
  nameOrArn: string,
): Promise<Check[]> {
  const name = "instance profile";
  const { arn, role } = await givenProfile(clients, nameOrArn);
  const checks: Check[] = [{ name, outcome: "ok", detail: arn }];
  for (const access of accessOf(context)) {
    const { bucket, prefix, mode } = access;
    const [list] = nodePolicy([access], clients.region).Statement;
    const arnOfBucket = String(list!.Resource);
    const wanted = [
      { resource: arnOfBucket, actions: ["s3:ListBucket"], prefix },
      { resource: `${arnOfBucket}/${prefix}x`, actions: mode === "writable" ? [...READS, ...WRITES] : READS },
    ];
    for (const { resource, actions, prefix: listed } of wanted) {
      const denied = await deniedOf(clients, role, resource, actions, listed);
      if (denied === undefined || typeof denied === "string") {
        if (typeof denied === "string") checks.push({ name, outcome: "warning", detail: denied });
        return checks;
      }
      if (denied.length === 0) continue;
      checks.push({
        name,
        outcome: "warning",
        detail: `${arn} does not allow ${denied.join(", ")} on s3://${bucket}/${prefix}, as IAM simulates it; add it to the role ${role}`,
      });
    }
  }
  return checks;
}

/** @returns a sentence where it cannot be asked */
async function deniedOf(
  clients: Clients,
  role: string,
  resource: string,
  actions: readonly string[],
  prefix: string | undefined,
): Promise<string[] | string | undefined> {
  try {
    const answer = await unless(["InvalidAction", "NotImplemented"], () =>
      clients.iam("SimulatePrincipalPolicy", (client, sdk, options) =>
        client.send(
          new sdk.SimulatePrincipalPolicyCommand({
            PolicySourceArn: role,
            ActionNames: [...actions],
            ResourceArns: [resource],
            ...(prefix === undefined
              ? {}
              : {
                  ContextEntries: [
                    { ContextKeyName: "s3:prefix", ContextKeyType: "string", ContextKeyValues: [prefix] },
                  ],
                }),
          }),
          options,
        ),
      ),
    );
    return answer?.EvaluationResults?.flatMap(({ EvalActionName = "", EvalDecision }) =>
      EvalDecision === "allowed" ? [] : [EvalActionName],
    );
  } catch (error) {
    return `what the role allows could not be checked (${toHawserError(error).message})`;
  }
}
