//! Writes `docs/conformance/ledger.md` from the statement tables and the citations in the tests.
#![forbid(unsafe_code)]

use std::fs;

use anyhow::{Result, ensure};
use postrider_tidy::{
    Repository,
    ledger::{self, Standard, Statements},
};

fn main() -> Result<()> {
    let repository = Repository::open()?;
    let mqtt311 = repository.text(Standard::Mqtt311.file())?;
    let statements = Statements::parse(&mqtt311, &repository.text(Standard::Mqtt5.file())?)?;
    let (citations, faults) =
        ledger::collect(&statements, &repository.sources()?, &repository.plays()?);
    for fault in &faults {
        println!("{fault}");
    }
    ensure!(faults.is_empty(), "{} citations are wrong; the ledger is as it was", faults.len());
    fs::write(repository.path(ledger::LEDGER), ledger::write(&statements, &citations))?;
    println!("{}: {} citations", ledger::LEDGER, citations.len());
    Ok(())
}
