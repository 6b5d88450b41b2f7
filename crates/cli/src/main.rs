//! The command `quickpick`.
#![forbid(unsafe_code)]

mod columns;
mod compare;
mod convert;
mod demo;
mod doctor;
mod eval;
mod export;
mod finetune;
mod generate;
mod html;
mod inspect;
mod metric;
mod prune;
mod ticket;

use clap::{Parser, Subcommand};

/// 2:4 sparse transformers: find a lottery ticket, run it on the GPU or CPU at hand.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a tiny transformer, find its 2:4 ticket, run both on a backend, and compare.
    Demo(demo::Args),
    /// Make a checkpoint 2:4 sparse, one shot, block by block; a killed run goes on with --resume.
    Prune(prune::Args),
    /// Train a pruned checkpoint while it stays sparse; a killed run goes on with --resume.
    Finetune(finetune::Args),
    /// Prune by several methods, and compare perplexity or embeddings, error, time and memory.
    Compare(compare::Args),
    /// Perplexity of a checkpoint on a text, with the protocol stated.
    Eval(eval::Args),
    /// Text from a checkpoint, token by token, on a backend; its 2:4 layers run compressed.
    Generate(generate::Args),
    /// A lottery ticket from two checkpoints of one training: early weights under a mask of the final ones.
    Ticket(ticket::Args),
    /// Drivers, adapters, limits, tools, and which kernel would run a shape and why.
    Doctor(doctor::Args),
    /// What a checkpoint holds: how sparse each tensor is, in which pattern, and what 2:4 would save.
    Inspect(inspect::Args),
    /// A ticket of the demo and its dense twin as files that the browser's page runs on WebGPU.
    Export(export::Args),
    /// One form of a checkpoint to another: dense, Quickpick's 2:4, compressed-tensors' bitmask.
    Convert(convert::Args),
}

fn main() -> miette::Result<()> {
    match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Prune(args) => prune::run(&args),
        Command::Finetune(args) => finetune::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Ticket(args) => ticket::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Convert(args) => convert::run(&args),
    }
}
