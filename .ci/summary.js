// Sums vitest's JSON reports: names the failed tests, with what they said, and the skipped ones, and ends with the line
// `N passed, N failed`.
import { readFileSync } from "node:fs";

let passed = 0;
let failed = 0;
const skipped = [];
for (const path of process.argv.slice(2)) {
  let report;
  try {
    report = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    console.log(`no report at ${path}: ${error.message}`);
    failed++;
    continue;
  }
  for (const file of report.testResults) {
    if (file.status === "failed" && file.assertionResults.length === 0) {
      failed++;
      console.log(`failed: ${file.name}: ${file.message}`);
    }
    for (const test of file.assertionResults) {
      if (test.status === "passed") passed++;
      else if (test.status === "failed") {
        failed++;
        console.log(`failed: ${test.fullName}`);
        for (const message of test.failureMessages) console.log(message.replaceAll(/^/gm, "  "));
      } else skipped.push(test.fullName);
    }
  }
}
for (const name of skipped) console.log(`skipped: ${name}`);
console.log(`${passed} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ""}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
