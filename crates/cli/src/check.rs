//! `postrider check`: plays the conformance cases at a broker.

use anyhow::Context;
use clap::Args;
use postrider_broker::Address;
use postrider_check::{cases, judge};

/// Plays raw packets at a broker and judges the answers.
#[derive(Debug, Args)]
#[command(after_help = "Example: postrider check --url mqtt://127.0.0.1:1883 --only retained")]
pub(crate) struct CheckArgs {
    /// Broker to judge.
    #[arg(long, default_value = "mqtt://127.0.0.1:1883", env = "POSTRIDER_URL")]
    url: String,
    /// Plays only cases whose name or statements contain this.
    #[arg(long)]
    only: Option<String>,
}

/// Plays the cases and prints a line for each; an error if the broker failed one.
pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let address = Address::parse(&args.url).context("--url")?;
    let all = cases()?;
    let wanted = args.only.as_deref().unwrap_or_default();
    let chosen: Vec<_> = all
        .iter()
        .filter(|case| case.name.contains(wanted) || case.statements.contains(wanted))
        .collect();
    anyhow::ensure!(!chosen.is_empty(), "--only '{wanted}' fits none of {} cases", all.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut passed, mut failed) = (0, 0);
    for case in chosen {
        for &version in &case.versions {
            let verdict = runtime.block_on(judge(&address, case, version));
            match verdict.surprise {
                None => {
                    passed += 1;
                    println!("pass  {version}  {}", case.name);
                }
                Some((step, surprise)) => {
                    failed += 1;
                    println!("FAIL  {version}  {}: step {step}: {surprise}", case.name);
                    println!("      {}", case.statements);
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    anyhow::ensure!(failed == 0, "the broker at {} failed {failed} cases", address.endpoint);
    Ok(())
}
