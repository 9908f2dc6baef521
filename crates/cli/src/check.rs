//! `postrider check`: plays the conformance cases at a broker.

use postrider_check::{Case, cases, judge_all, reach};

use crate::{args::CheckArgs, names::Manner, out};

/// Plays the cases and prints a line for each; an error if the broker failed one.
pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let address = args.address.address(&args.transport)?;
    let how = args.transport.dial(Manner::Postrider)?;
    let all = cases()?;
    let wanted = args.only.as_deref().unwrap_or_default();
    let count = all.len();
    let is_chosen = |case: &Case| case.name.contains(wanted) || case.statements.contains(wanted);
    let chosen: Vec<_> = all.into_iter().filter(is_chosen).collect();
    anyhow::ensure!(!chosen.is_empty(), "--only '{wanted}' fits none of {count} cases");
    let plays = chosen.into_iter().flat_map(|case| {
        let versions = case.versions.clone();
        versions.into_iter().map(move |version| (case.clone(), version))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(reach(&address, &how))?;
    let (mut passed, mut failed) = (0, 0);
    let mut said = Ok(());
    let mut say = |line: &str| {
        if said.is_ok() {
            said = out::say(line);
        }
    };
    runtime.block_on(judge_all(&address, &how, plays.collect(), |case, version, verdict| {
        match &verdict.surprise {
            None => {
                passed += 1;
                say(&format!("pass  {version}  {}", case.name));
            }
            Some((step, surprise)) => {
                failed += 1;
                say(&format!("FAIL  {version}  {}: step {step}: {surprise}", case.name));
                say(&format!("      {}", case.statements));
            }
        }
        for remark in &verdict.remarks {
            say(&format!("note  {version}  {}: {remark}", case.name));
        }
    }));
    say(&format!("{passed} passed, {failed} failed"));
    anyhow::ensure!(failed == 0, "the broker at {} failed {failed} cases", address.endpoint);
    said
}
