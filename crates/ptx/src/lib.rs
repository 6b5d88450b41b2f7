//! The PTX language that Quickpick speaks: instruction table, builder, printer, parser
