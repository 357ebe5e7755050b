/** Instances that are stopped, started and ended: what was written is in the bucket before. */
import { describe, expect, test } from "vitest";
import { CloudWorld } from "../support/cloud-world.ts";

let world: CloudWorld;
CloudWorld.forTests(async (opened) => {
  world = opened;
  await world.put("in/words.txt", "alpha beta");
  await world.warmUp();
});

describe("'pool stop' and 'pool start'", () => {
  const states = async (): Promise<(string | undefined)[]> =>
    (await world.cloud.inventory()).map(({ State }) => State?.Name);

  test("stop drains and waits until the machines are off; start mounts and proves; inputs and outputs go between node and bucket", async () => {
    const { cloud } = world;
    const { url } = cloud.store.s3;
    const store = `endpoint: "${url}"`;
    world.write(
      `inputs: [{ from: s3://test-bucket/in/words.txt, to: words.txt, ${store} }]
outputs: [{ from: results, to: "s3://test-bucket/home/{rank}/", ${store} }]
job: "mkdir -p results; cat words.txt > results/words; echo $HAWSER_RESTART > /mnt/out/ran-$RANK; echo local > kept-here"`,
      { data: false },
    );
    const { code, stderr } = await world.hawser("pool", "run", "--keep");
    expect({ code, stderr }).toMatchObject({ code: 0 });
    for (const rank of [0, 1]) expect(await world.get(`home/${rank}/words`)).toBe("alpha beta");
    // A node is named by its number or by its instance.
    const { id, address } = cloud.instances[0]!;
    const named = await world.hawser("pool", "exec", "--node", id, "--", "hostname");
    expect(named).toMatchObject({ code: 0, stdout: `ip-${address.replaceAll(".", "-")}\n` });
    expect(await world.hawser("pool", "exec", "--node", "i-0123", "--", "true")).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/has no node 'i-0123'; it has 0 \(i-/),
    });
    // What the job has written into the volume is home before the machines are off.
    const late = await world.hawser(
      "pool",
      "exec",
      "--",
      "echo late > /mnt/out/late-$RANK; echo more > results/more",
    );
    expect(late).toMatchObject({ code: 0 });
    expect(await world.hawser("pool", "stop")).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/the pool 'train' is stopped/),
    });
    expect(await states()).toEqual(["stopped", "stopped"]);
    expect(cloud.instances).toEqual([]);
    for (const rank of [0, 1]) {
      expect(await world.get(`out/late-${rank}`)).toBe("late\n");
      expect(await world.get(`home/${rank}/more`)).toBe("more\n");
    }
    expect((await world.hawser("pool", "ls")).stdout).toMatch(/train +ec2 +stopped +2/);

    expect(await world.hawser("pool", "start")).toMatchObject({ code: 0 });
    expect(await states()).toEqual(["running", "running"]);
    const seen = await world.hawser("pool", "exec", "--", "cat /mnt/out/late-$RANK kept-here");
    expect(seen.stdout.split("\n").sort().join(" ")).toBe(" 0| late 0| local 1| late 1| local");
    expect(await world.hawser("pool", "down")).toMatchObject({ code: 0 });
  });

  test("a stopped pool past its time is told by 'pool ls' and ended by 'pool cleanup'; so is one without a record", async () => {
    for (const orphaned of [false, true]) {
      world.write("", { nodes: 1, data: false });
      expect(await world.hawser("pool", "up")).toMatchObject({ code: 0 });
      expect(await world.hawser("pool", "exec", "--", "echo home > /mnt/out/stopped")).toMatchObject({
        code: 0,
      });
      expect(await world.hawser("pool", "stop")).toMatchObject({ code: 0 });
      if (orphaned) world.loseRecord();
      else world.expire();
      const state = orphaned ? "orphaned" : "expired";
      expect((await world.hawser("pool", "ls")).stdout).toMatch(new RegExp(`train +ec2 +${state}`));
      expect(await world.hawser("pool", "cleanup")).toMatchObject({ code: 0 });
      await world.expectNothing();
      expect(await world.get("out/stopped")).toBe("home\n");
    }
  });

  test("spot instances say that they cannot be stopped, and nothing happens to them", async () => {
    world.write("", { nodes: 1, data: false, pool: "ttl: 1h, allocation: spot" });
    const { code, stderr } = await world.hawser("pool", "up");
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) });
    expect(await world.hawser("pool", "stop")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /Spot instances of a fleet cannot be stopped; end the pool with 'hawser pool down'/,
      ),
    });
    expect((await world.hawser("pool", "status")).stdout).toMatch(/train: ready/);
  });
});

describe("outputs of instances", () => {
  const job = (body: string): string => {
    const store = `endpoint: "${world.cloud.store.s3.url}"`;
    return `outputs: [{ from: results, to: "s3://test-bucket/home/{node}/", ${store} }]
job: "mkdir -p results; ${body}"`;
  };
  const home = (id: string, name: string): Promise<string | undefined> => world.get(`home/${id}/${name}`);

  test("are home after a job that failed, and after Ctrl-C", async () => {
    world.write(job("echo so far > results/failed; exit 5"), { nodes: 1, data: false });
    const failing = world.start(["pool", "run"]);
    await failing.said(/started: /);
    const [first] = world.cloud.instances;
    expect(await failing.ended).toMatchObject({ code: 5 });
    expect(await home(first!.id, "failed")).toBe("so far\n");

    world.write(job("echo so far > results/stopped; echo written; exec sleep 600"), {
      nodes: 1,
      data: false,
    });
    const stopped = world.start(["pool", "run"]);
    await stopped.said(/0\| written/);
    const [second] = world.cloud.instances;
    stopped.child.kill("SIGINT");
    expect(await stopped.ended).toMatchObject({ code: 130 });
    expect(await home(second!.id, "stopped")).toBe("so far\n");
    await world.expectNothing();
  });

  test("that the bucket refuses keep their instance, which is named; the next 'pool down' brings them home", async () => {
    const { faults } = world.cloud.store.s3;
    world.write(job("echo mine > results/refused; echo written; until [ -e go ]; do sleep 0.1; done"), {
      nodes: 1,
      data: false,
    });
    const running = world.start(["pool", "run"]);
    await running.said(/0\| written/);
    const [instance] = world.cloud.instances;
    faults.add({ key: `home/${instance!.id}/refused`, error: "AccessDenied" });
    await instance!.machine.exec("touch /home/ec2-user/hawser/train/go");
    const { stderr } = await running.ended;
    expect(stderr).toMatch(
      new RegExp(`Node 0 \\(${instance!.id}\\) is kept: results is not all in the bucket`),
    );
    expect((await world.cloud.inventory()).map(({ InstanceId }) => InstanceId)).toEqual([instance!.id]);
    faults.clear();
    expect(await world.hawser("pool", "down")).toMatchObject({ code: 0 });
    expect(await home(instance!.id, "refused")).toBe("mine\n");
  });
});
