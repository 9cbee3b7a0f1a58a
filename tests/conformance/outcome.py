"""What a suite found, directly and through veneer, and whether each difference has its reason."""

import fnmatch
import json
import tomllib
import xml.etree.ElementTree as xml
from collections import Counter
from dataclasses import asdict, dataclass, field

PASSED, FAILED, SKIPPED, MISSING = "passed", "failed", "skipped", "not run"


@dataclass(frozen=True)
class Outcome:
    result: str
    said: str = ""


def junit(file):
    """Test name: outcome, as pytest and Node write it down."""
    outcomes = {}
    tree = xml.parse(file)
    # Node names the class of every test `test`, and nests them in suites.
    suites = {case: suite.get("name") for suite in tree.iter("testsuite") for case in suite}
    for case in tree.iter("testcase"):
        group = case.get("classname")
        name = f"{suites.get(case) if group == 'test' else group}.{case.get('name')}"
        outcome = Outcome(PASSED)
        for part in case:
            said = f"{part.get('message') or ''}\n{part.text or ''}"
            if part.tag in ("failure", "error"):
                outcome = Outcome(FAILED, said)
            elif part.tag == "skipped":
                outcome = Outcome(SKIPPED, said)
        # A test that failed can have a second entry: its tear-down failed, too.
        if name not in outcomes or outcomes[name].result != FAILED:
            outcomes[name] = outcome
    return outcomes


@dataclass
class Reason:
    suite: str
    why: str
    tests: list[str] = field(default_factory=lambda: ["*"])
    # Words that must stand in what the test said through veneer.
    says: str = ""
    # The outcome depends on time, with or without veneer: it need not differ in every run.
    varies: bool = False
    used_by: list[str] = field(default_factory=list)

    def explains(self, suite, difference):
        return (
            fnmatch.fnmatch(suite, self.suite)
            and any(fnmatch.fnmatchcase(difference.test, pattern) for pattern in self.tests)
            and self.says in difference.through.said
        )


@dataclass
class Difference:
    test: str
    direct: Outcome
    through: Outcome
    reason: Reason | None = None


@dataclass
class Comparison:
    suite: str
    version: str
    # When, and of which revision.
    measured: str
    direct: dict[str, Outcome]
    through: dict[str, Outcome]
    # Numbers beside passed and failed that the suite measured.
    notes: list[str]
    differences: list[Difference] = field(default_factory=list)

    def counts(self, outcomes):
        count = Counter(outcome.result for outcome in outcomes.values())
        return f"{count[PASSED]} / {count[FAILED]} / {count[SKIPPED]}"


def reasons(file):
    with file.open("rb") as text:
        return [Reason(**entry) for entry in tomllib.load(text)["reason"]]


def explain(comparison, known):
    """Finds the differences, and the reason of each."""
    direct, through = comparison.direct, comparison.through
    for test in sorted(direct | through):
        pair = [outcomes.get(test, Outcome(MISSING)) for outcomes in (direct, through)]
        if pair[0].result == pair[1].result:
            continue
        difference = Difference(test, *pair)
        for reason in known:
            if reason.explains(comparison.suite, difference):
                difference.reason = reason
                reason.used_by.append(test)
                break
        comparison.differences.append(difference)
    return comparison


def save(comparison, folder):
    """For the table of a later run that leaves this suite out."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = asdict(comparison) | {"differences": []}
    (folder / f"{comparison.suite}.json").write_text(json.dumps(kept))


def saved(folder, names):
    for name in names:
        file = folder / f"{name}.json"
        if file.exists():
            kept = json.loads(file.read_text())
            for side in ("direct", "through"):
                kept[side] = {test: Outcome(**outcome) for test, outcome in kept[side].items()}
            yield Comparison(**kept)


def mistakes(comparisons, known, suites):
    """Why the run fails: differences without a reason, reasons without a difference.

    `suites` are all that there are: a reason may be for one that has not run now.
    """
    found = []
    left_out = set(suites) - {comparison.suite for comparison in comparisons}
    for comparison in comparisons:
        if not any(outcome.result == PASSED for outcome in comparison.direct.values()):
            found.append(f"{comparison.suite}: nothing passes directly")
        for difference in comparison.differences:
            if difference.reason is None:
                said = difference.through.said or difference.direct.said
                found.append(
                    f"{comparison.suite}: {difference.test}: {difference.direct.result} directly,"
                    f" {difference.through.result} through veneer, and no reason is known:\n"
                    + "\n".join(f"    {line}" for line in tail(said))
                )
    for reason in known:
        judged = not fnmatch.filter(left_out, reason.suite)
        if judged and not reason.varies and not reason.used_by:
            found.append(f"{reason.suite}: the reason for {reason.tests} explains nothing: {reason.why}")
    return found


def tail(said, lines_max=12):
    lines = [line for line in said.splitlines() if line.strip()]
    return lines if len(lines) <= lines_max else [lines[0], "…", *lines[2 - lines_max :]]


def table(comparisons):
    lines = [
        "| suite | version | directly: passed / failed / skipped | through veneer | differ | measured |",
        "| --- | --- | --: | --: | --: | --- |",
    ]
    for comparison in comparisons:
        lines.append(
            f"| {comparison.suite} | {comparison.version} | {comparison.counts(comparison.direct)}"
            f" | {comparison.counts(comparison.through)} | {len(comparison.differences)} | {comparison.measured} |"
        )
    return "\n".join(lines)


def explained(comparisons):
    """Each difference with its reason, reason by reason."""
    parts = []
    for comparison in comparisons:
        if not comparison.differences and not comparison.notes:
            continue
        parts.append(f"### {comparison.suite}\n")
        parts.extend(f"{note}\n" for note in comparison.notes)
        groups = {}
        for difference in comparison.differences:
            why = difference.reason.why if difference.reason else "**No reason is known.**"
            groups.setdefault(why, []).append(difference)
        for why, differences in groups.items():
            parts.append(f"{' '.join(why.split())}\n")
            for difference in differences:
                unlike = (difference.direct.result, difference.through.result) != (PASSED, FAILED)
                how = f" ({difference.direct.result} directly, {difference.through.result})" if unlike else ""
                parts.append(f"- `{difference.test}`{how}")
            parts.append("")
    return "\n".join(parts)
