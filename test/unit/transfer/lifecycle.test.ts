import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lifecycleOf, readableLifecycle } from "../../../src/transfer/bucket/lifecycle.ts";
import { checkSettings } from "../../../src/transfer/bucket/settings.ts";
import type { BucketSettings } from "../../../src/transfer/bucket/settings.ts";

describe("lifecycle rules", () => {
  test("as a person writes them become what S3 has", () => {
    const [rule] = lifecycleOf({
      rules: [
        {
          name: "old",
          prefix: "runs/",
          tags: { keep: "no" },
          transitions: [{ to: "GLACIER", after: "4w" }],
          expire: "2027-01-31",
          oldVersions: { expire: "30d", keep: 2 },
          abortMultiparts: "7d",
        },
      ],
    });
    expect(rule).toEqual({
      ID: "old",
      Status: "Enabled",
      Filter: { And: { Prefix: "runs/", Tags: [{ Key: "keep", Value: "no" }] } },
      Transitions: [{ Days: 28, StorageClass: "GLACIER" }],
      Expiration: { Date: new Date("2027-01-31T00:00:00Z") },
      NoncurrentVersionExpiration: { NoncurrentDays: 30, NewerNoncurrentVersions: 2 },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
    });
  });

  const days = fc.integer({ min: 1, max: 999 }).map((count) => `${count}d`);
  const moment = fc.oneof(days, fc.constantFrom("2027-01-31", "2030-12-01"));
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const rule = fc.record(
    {
      name: fc.string({ minLength: 1, maxLength: 20 }),
      enabled: fc.constant(false),
      prefix: fc.string({ minLength: 1 }),
      tags: fc.dictionary(fc.constantFrom("a", "b"), fc.string(), { minKeys: 1 }),
      largerThan: fc.nat(),
      smallerThan: fc.nat(),
      transitions: fc.array(fc.record({ to: fc.constantFrom("GLACIER", "STANDARD_IA"), after: moment }), {
        minLength: 1,
      }),
      oldVersions: fc.record({ expire: days, keep: optional(fc.integer({ min: 1, max: 100 })) }),
      expire: moment,
      abortMultiparts: days,
    },
    { requiredKeys: ["name", "expire"] },
  );
  test("what S3 has comes back the same after being shown and set", () => {
    fc.assert(
      fc.property(fc.array(rule, { minLength: 1, maxLength: 4 }), (rules) => {
        const set = lifecycleOf(JSON.parse(JSON.stringify({ rules })));
        const shown = JSON.parse(JSON.stringify(readableLifecycle(set))) as unknown;
        expect(lifecycleOf(shown)).toEqual(set);
        expect(shown).toEqual(JSON.parse(JSON.stringify({ rules })));
      }),
    );
  });
  test.each([
    [{}, "rules"],
    [{ rules: [{ name: "a" }] }, "nothing to do"],
    [{ rules: [{ name: "a", expire: "soon" }] }, "rules.0.expire"],
    [{ rules: [{ name: "a", expire: "90m" }] }, "30d"],
    [{ rules: [{ name: "a", expire: "30d", prefx: "b" }] }, "prefx"],
    [{ rules: [{ name: "a", transitions: [{ to: "GLACIER" }] }] }, "rules.0.transitions.0.after"],
    [{ rules: [{ name: "a", expire: "1d", largerThan: "much" }] }, "is not a size"],
  ])("%j is refused, and it is said where", (value, said) => {
    expect(() => lifecycleOf(value)).toThrow(said);
  });
});

describe("what is wrong with a bucket", () => {
  const good: BucketSettings = {
    region: "r",
    encryption: { algorithm: "AES256" },
    versioning: "on",
    publicAccess: "blocked",
    replication: [],
  };
  const rules = { abortsMultiparts: true, expiresOldVersions: true };
  test.each<[Partial<BucketSettings>, Partial<typeof rules>, string[]]>([
    [{}, {}, []],
    [{ publicAccess: "not-blocked" }, {}, ["bad public-access"]],
    [{ publicAccess: "partly-blocked" }, {}, ["bad public-access"]],
    [{ publicAccess: undefined }, {}, []],
    [{ versioning: "off" }, {}, ["advice versioning"]],
    [{ versioning: "suspended" }, { expiresOldVersions: false }, ["advice versioning"]],
    [{ encryption: undefined }, {}, ["advice encryption"]],
    [{}, { abortsMultiparts: false, expiresOldVersions: false }, ["advice lifecycle", "advice lifecycle"]],
    [{ replication: [{ bucket: "b", enabled: false }] }, {}, ["advice replication"]],
  ])("%j %j", (settings, lifecycle, expected) => {
    const findings = checkSettings({ ...good, ...settings }, { ...rules, ...lifecycle });
    const wrong = findings.filter(({ level }) => level !== "good");
    expect(wrong.map(({ level, setting }) => `${level} ${setting}`)).toEqual(expected);
  });
});
