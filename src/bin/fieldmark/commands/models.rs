//! `fieldmark models`: the checkpoints that are known to work, or what was understood of one.

use std::ffi::OsStr;

use anyhow::Result;
use fieldmark::model::{catalogue, hub::ModelSpec, inspect::Inspection};

use crate::{args::ModelsArgs, checkpoint, exit::Exit, listing, output, terminal::Terminal};

pub fn run(args: &ModelsArgs, terminal: &Terminal) -> Result<Exit> {
    match &args.model {
        Some(model) => inspect(model, args, terminal),
        None => list(args),
    }
}

fn list(args: &ModelsArgs) -> Result<Exit> {
    let listed = catalogue::list(&checkpoint::hub_options(args.offline))?;
    if args.json {
        listed.iter().try_for_each(output::json)?
    } else {
        output::write(&listing::catalogue(&listed))?
    }
    Ok(Exit::Done)
}

fn inspect(model: &OsStr, args: &ModelsArgs, terminal: &Terminal) -> Result<Exit> {
    let inspection =
        Inspection::new(&ModelSpec::parse(model)?, &checkpoint::hub_options(args.offline), terminal)?;
    if args.json {
        output::json(&inspection)?
    } else {
        output::write(&listing::inspection(&inspection))?
    }
    Ok(if inspection.is_usable() { Exit::Done } else { Exit::NothingDone })
}
