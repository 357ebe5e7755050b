/** The plan: what would be taken and what it costs, with everything checked that can be; changes nothing. */
import { toHawserError } from "../../common/errors.ts";
import type { Milliseconds } from "../../common/units.ts";
import type { Check, Provider } from "../provider.ts";
import { isOfAws } from "./clients.ts";
import { choose, isAuto } from "./launching.ts";
import { takeable } from "./offers.ts";
import type { RankedOffer } from "./offers.ts";
import { loadCatalogue, pricesSaid } from "./presets.ts";
import { profileChecks } from "./profile-check.ts";
import { clientsOf } from "./state.ts";

const SSH_TIMEOUT_MS: Milliseconds = 180_000;

export const plan: Provider["plan"] = async (context) => {
  using clients = await clientsOf(context);
  const checks: Check[] = [];
  const nodes = context.config.nodes ?? 1;
  const plan = {
    nodes,
    offers: [] as RankedOffer[],
    checks,
    hourlyCost: undefined,
    sshTimeoutMs: SSH_TIMEOUT_MS,
  };
  try {
    const { offers, wishes, image, placement } = await choose(clients, context);
    const [first] = takeable(offers, wishes);
    checks.push({ name: "image", outcome: "ok", detail: image.id });
    const named = [...new Set(offers.map(({ instanceType }) => instanceType))];
    const detail = pricesSaid(loadCatalogue(context.environment), named);
    checks.push({ name: "prices", outcome: "ok", detail });
    if (placement.group || placement.efa) {
      const what = [placement.group ? "a placement group" : "", placement.efa ? "EFA" : ""];
      checks.push({
        name: "placement",
        outcome: "ok",
        detail: what.filter((word) => word !== "").join(", "),
      });
    }
    const profile = context.config.instanceProfile;
    if (!isAuto(profile)) {
      checks.push(...(await profileChecks(clients, context, profile)));
    }
    for (const volume of context.volumes) {
      const { name, region } = volume;
      if (region === undefined || region === clients.region || !isOfAws(volume, context.environment))
        continue;
      checks.push({
        name: `volume ${name}`,
        outcome: "warning",
        detail: `its bucket is in ${region}, the nodes in ${clients.region}: each GB read costs about $0.02, and takes longer`,
      });
    }
    const hourlyCost = first?.hourlyCost === undefined ? undefined : first.hourlyCost * nodes;
    return { ...plan, offers, hourlyCost };
  } catch (error) {
    const failure = toHawserError(error);
    checks.push({ name: "EC2", outcome: "failed", detail: failure.message, error: failure });
    return plan;
  }
};
