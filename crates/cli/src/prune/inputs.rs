//! What shows the layers' inputs: a text that goes through the model, another framework's grams, or nothing.

use super::{How, Setting};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use quickpick_transformer::Text;
use quickpick_transformer::checkpoint::Model;
use quickpick_transformer::oneshot::{Bare, Grams, Stack};
use std::path::{Path, PathBuf};

/// Where inputs come from.
pub enum Inputs {
    /// Calibration text.
    Text(Text),
    /// A file of grams, and what identifies it.
    Grams(PathBuf, u64),
    /// Nowhere: the method looks at weights alone.
    Unseen,
}

impl Inputs {
    /// Reads what `how` names. Errors: a method or an order of features that needs more than is given, a file
    /// that is none.
    pub fn read(how: &How, model: &Model) -> Result<Self> {
        let Setting { calibration, grams, .. } = &how.setting;
        let alone = calibration.is_empty();
        if alone && how.permute {
            return Err(miette!(
                "--permute needs --calibration: how layers hang together is known of models that can be run"
            ));
        }
        if alone && how.setting.density.is_some() {
            return Err(miette!(
                "--density needs --calibration, which shows what each layer would lose"
            ));
        }
        match grams {
            _ if !alone => {
                model.architecture().stack(how.setting.length).into_diagnostic().wrap_err(
                    "--calibration needs a model that can be run; of any other, --grams shows the inputs",
                )?;
                let tokenizer = model.tokenizer().into_diagnostic()?;
                let text = Text::read(calibration, tokenizer);
                Ok(Self::Text(text.into_diagnostic().wrap_err("--calibration")?))
            }
            Some(path) => {
                let digest = open(path)?.digest().into_diagnostic().wrap_err("--grams")?;
                Ok(Self::Grams(path.clone(), digest))
            }
            None if how.method.needs_inputs() => Err(miette!(
                help = "--calibration FILE runs a Llama or BERT; --grams FILE serves any model; magnitude needs neither",
                "{} looks at the layers' inputs, and nothing shows them",
                how.method
            )),
            None => Ok(Self::Unseen),
        }
    }

    /// What is walked, and with which tokens.
    pub fn stack(&self, how: &How, model: &Model) -> Result<(Box<dyn Stack>, Vec<u32>)> {
        let Setting { sequences, length, .. } = how.setting;
        let architecture = model.architecture();
        let bare = |grams| Bare::new(model.source(), grams).into_diagnostic();
        Ok(match self {
            Self::Text(text) => {
                let tokenizer = model.tokenizer().into_diagnostic()?;
                let ids = architecture
                    .sequences(text, tokenizer, sequences, length, how.seed)
                    .into_diagnostic()?;
                (architecture.stack(length).into_diagnostic()?, ids)
            }
            Self::Grams(path, _) => {
                (Box::new(bare(Some(open(path)?)).wrap_err("--grams")?), Vec::new())
            }
            Self::Unseen => (Box::new(bare(None)?), Vec::new()),
        })
    }

    /// What two runs of one job have in common.
    pub fn identity(&self) -> String {
        match self {
            Self::Text(text) => format!("{:016x} {:016x}", text.digest(), text.tokenizer()),
            Self::Grams(_, digest) => format!("grams {digest:016x}"),
            Self::Unseen => "none".to_owned(),
        }
    }

    /// For people.
    pub fn describe(&self, how: &How) -> String {
        match self {
            Self::Text(text) => format!(
                "{} sequences of {} tokens, seed {}, of {}",
                how.setting.sequences,
                how.setting.length,
                how.seed,
                text.source()
            ),
            Self::Grams(path, _) => format!("grams of {}", path.display()),
            Self::Unseen => "not looked at".to_owned(),
        }
    }
}

fn open(path: &Path) -> Result<Grams> {
    Grams::open(path).into_diagnostic().wrap_err("--grams")
}
