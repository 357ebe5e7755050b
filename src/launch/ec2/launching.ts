/**
 * Making instances: what can be had, of which the best is taken, and everything that an instance needs besides: image,
 * network, group, profile, keys.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { ProviderContext } from "../provider.ts";
import type { Clients } from "./clients.ts";
import { launchInstances } from "./fleet.ts";
import { findImage } from "./image.ts";
import type { Image } from "./image.ts";
import { offersFor } from "./market.ts";
import { checkGiven, findNetwork, securityGroup } from "./network.ts";
import type { Network } from "./network.ts";
import { efaCards, roundsByCards } from "./network-cards.ts";
import { roundsOf, takeable } from "./offers.ts";
import type { OfferWishes, RankedOffer } from "./offers.ts";
import { newKeyPair } from "./openssh-key.ts";
import { placementGroup, placementOf } from "./placement.ts";
import type { Placement } from "./placement.ts";
import { givenProfile, ownProfile } from "./profile.ts";
import { keyPath, stateOf } from "./state.ts";
import type { Ec2State } from "./state.ts";
import { userData } from "./user-data.ts";

interface Choice {
  network: Network;
  offers: RankedOffer[];
  wishes: OfferWishes;
  image: Image;
  placement: Placement;
}

/** What a launch would use; changes nothing. @throws HawserError what of it is not there */
export async function choose(clients: Clients, context: ProviderContext): Promise<Choice> {
  const { config } = context;
  const network = await findNetwork(clients, config);
  await checkGiven(clients, config, network);
  const market = await offersFor(clients, context, network);
  const [first] = market.types;
  const image = await findImage(
    clients,
    config.ami ?? (first!.gpus ? "deep-learning" : "ubuntu"),
    first!.arch,
  );
  return { ...market, network, image, placement: placementOf(config, market.types) };
}

export const isAuto = (profile: string | undefined): profile is undefined | "auto" =>
  profile === undefined || profile === "auto";

/** The key that logs in to the pool's nodes, made once. @returns its public half */
function userKey(context: ProviderContext): string {
  const path = keyPath(context);
  try {
    readFileSync(path);
    return readFileSync(`${path}.pub`, "utf8").trim();
  } catch {
    const { privateKey, publicKey } = newKeyPair();
    writeFileSync(`${path}.pub`, `${publicKey}\n`, { mode: 0o600 });
    writeFileSync(path, privateKey, { mode: 0o600 });
    return publicKey;
  }
}

function spotPricesOf(offers: readonly RankedOffer[]): Record<string, number> {
  return Object.fromEntries(
    offers.flatMap(({ spot, hourlyCost, instanceType, zone }) =>
      spot && hourlyCost !== undefined ? [[`${instanceType} ${zone}`, hourlyCost]] : [],
    ),
  );
}

/**
 * @param avoid where instances ended while they were starting: taken only where there is nothing else
 * @returns ids of the new ones
 */
export async function launchMissing(
  clients: Clients,
  context: ProviderContext,
  missing: number,
  avoid: ReadonlySet<string | undefined>,
): Promise<string[]> {
  const { config, name, expiresMs } = context;
  const { network, offers, wishes, image, placement } = await choose(clients, context);
  const { efa, group, together } = placement;
  const all = takeable(offers, wishes);
  const elsewhere = all.filter(({ instanceType, zone }) => !avoid.has(`${instanceType} ${zone}`));
  const taken = elsewhere.length > 0 ? elsewhere : all;
  const cards = efa
    ? await efaCards(
        clients,
        taken.map(({ instanceType }) => instanceType),
      )
    : new Map<string, number>();
  const rounds = roundsByCards(roundsOf(taken, together), cards);
  const hostKey = newKeyPair();
  const publicKey = userKey(context);
  await context.save({
    region: clients.region,
    hostKeys: [...(stateOf(context)?.hostKeys ?? []), hostKey.publicKey],
    user: image.user,
    spotPrices: { ...stateOf(context)?.spotPrices, ...spotPricesOf(offers) },
  } satisfies Ec2State);
  const profileArn = isAuto(config.instanceProfile)
    ? await ownProfile(clients, context)
    : (await givenProfile(clients, config.instanceProfile)).arn;
  const groups = [await securityGroup(clients, context, network), ...(config.securityGroups ?? [])];
  return await launchInstances(
    clients,
    context,
    {
      image,
      groups,
      profileArn,
      network,
      rounds,
      efa,
      ...(group ? { placement: await placementGroup(clients, context) } : {}),
      userData: userData({ pool: name, hostKey, userKey: publicKey, expiresMs }),
    },
    missing,
  );
}
