//! Which layers are pruned, and why the others are not.

use crate::{LayerInfo, Pattern};
use std::fmt;

/// What happens to a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// It is pruned.
    Prune,
    /// It stays dense.
    Leave(Reason),
}

/// Why a layer stays dense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An embedding: it is gathered from, not multiplied.
    Embedding,
    /// The output head: its rows decide single tokens.
    Head,
    /// A norm: small, and every element matters.
    Norm,
    /// A bias: small.
    Bias,
    /// Not a matrix.
    Dimensions(usize),
    /// Its rows are not whole groups.
    Columns {
        /// Input features.
        cols: usize,
        /// The pattern.
        pattern: Pattern,
    },
    /// It has no elements.
    Empty,
    /// The caller wants it dense: the rule that says so.
    Excluded(String),
    /// It is among the most sensitive layers, and the budget allows it.
    Budget,
}

impl fmt::Display for Eligibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prune => f.write_str("pruned"),
            Self::Leave(reason) => write!(f, "dense: {reason}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedding => f.write_str("an embedding by its name"),
            Self::Head => f.write_str("the output head by its name"),
            Self::Norm => f.write_str("a norm by its name"),
            Self::Bias => f.write_str("a bias by its name"),
            Self::Dimensions(n) => write!(f, "{n} dimensions, not a matrix"),
            Self::Columns { cols, pattern } => {
                write!(f, "{cols} input features are not whole groups of {pattern}")
            }
            Self::Empty => f.write_str("no elements"),
            Self::Excluded(rule) => write!(f, "excluded by `{rule}`"),
            Self::Budget => f.write_str("the budget spares it"),
        }
    }
}

/// Decides which layers are pruned: by shape, by the caller's rules, by name.
///
/// Shape comes first, because it cannot be argued with. Then the caller's rule that was added last
/// and matches. Then the defaults: embeddings, the head, norms and biases stay dense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pattern: Pattern,
    overrides: Vec<(String, bool)>,
}

impl Rules {
    /// The defaults, for a pattern.
    pub fn new(pattern: Pattern) -> Self {
        Self { pattern, overrides: Vec::new() }
    }

    /// The pattern.
    pub fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// Prunes the layers whose whole name matches, in which `*` stands for any text.
    pub fn prune(mut self, names: &str) -> Self {
        self.overrides.push((names.to_owned(), true));
        self
    }

    /// Leaves the layers whose whole name matches dense, in which `*` stands for any text.
    pub fn leave(mut self, names: &str) -> Self {
        self.overrides.push((names.to_owned(), false));
        self
    }

    /// What happens to a layer.
    pub fn decide(&self, layer: &LayerInfo) -> Eligibility {
        if let Some(reason) = self.misfit(&layer.shape) {
            return Eligibility::Leave(reason);
        }
        let by_caller = self.overrides.iter().rev().find(|(names, _)| matches(names, &layer.name));
        match by_caller {
            Some((_, true)) => Eligibility::Prune,
            Some((rule, false)) => Eligibility::Leave(Reason::Excluded(rule.clone())),
            None => by_name(&layer.name).map_or(Eligibility::Prune, Eligibility::Leave),
        }
    }

    /// The caller's rules that match none of the layers: most likely misspelt.
    pub fn unmatched(&self, layers: &[LayerInfo]) -> Vec<&str> {
        let matched = |names: &str| layers.iter().any(|layer| matches(names, &layer.name));
        self.overrides.iter().map(|(names, _)| names.as_str()).filter(|n| !matched(n)).collect()
    }

    fn misfit(&self, shape: &[usize]) -> Option<Reason> {
        match *shape {
            [rows, cols] if rows == 0 || cols == 0 => Some(Reason::Empty),
            [_, cols] if cols % self.pattern.group() != 0 => {
                Some(Reason::Columns { cols, pattern: self.pattern })
            }
            [_, _] => None,
            _ => Some(Reason::Dimensions(shape.len())),
        }
    }
}

/// The names that checkpoints use: Llama, GPT-2, BERT and their kin.
fn by_name(name: &str) -> Option<Reason> {
    let name = name.to_ascii_lowercase();
    let parts: Vec<&str> = name.split(['.', '/']).collect();
    let any = |what: &[&str]| parts.iter().any(|part| what.contains(part));
    if any(&["bias"]) || name.ends_with("_bias") {
        Some(Reason::Bias)
    } else if name.contains("embed") || any(&["wte", "wpe"]) {
        Some(Reason::Embedding)
    } else if name.contains("norm") || any(&["ln", "ln_1", "ln_2", "ln_f"]) {
        Some(Reason::Norm)
    } else if any(&["lm_head", "embed_out"]) || ["head", "output", "score"].contains(&parts[0]) {
        Some(Reason::Head)
    } else {
        None
    }
}

/// Whether the whole name matches; `*` stands for any text, even none.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(tail) = name.strip_prefix(head) else { return false };
    (0..=tail.len()).filter(|&i| tail.is_char_boundary(i)).any(|i| matches(rest, &tail[i..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(name: &str, shape: &[usize]) -> String {
        Rules::new(Pattern::TWO_OF_FOUR).decide(&LayerInfo::new(name, shape)).to_string()
    }

    #[test]
    fn defaults_by_name() {
        for name in [
            "model.layers.0.self_attn.q_proj.weight",
            "h.3.mlp.c_fc.weight",
            "attention.output.dense.weight",
        ] {
            assert_eq!(decide(name, &[8, 8]), "pruned", "{name}");
        }
        for (name, why) in [
            ("model.embed_tokens.weight", "dense: an embedding by its name"),
            ("transformer.wte.weight", "dense: an embedding by its name"),
            ("lm_head.weight", "dense: the output head by its name"),
            ("output.weight", "dense: the output head by its name"),
            ("model.layers.0.input_layernorm.weight", "dense: a norm by its name"),
            ("h.0.ln_1.weight", "dense: a norm by its name"),
            ("h.0.attn.bias", "dense: a bias by its name"),
        ] {
            assert_eq!(decide(name, &[8, 8]), why, "{name}");
        }
    }

    #[test]
    fn shape_cannot_be_overridden() {
        assert_eq!(decide("w", &[8]), "dense: 1 dimensions, not a matrix");
        assert_eq!(decide("w", &[8, 8, 3, 3]), "dense: 4 dimensions, not a matrix");
        assert_eq!(decide("w", &[8, 6]), "dense: 6 input features are not whole groups of 2:4");
        assert_eq!(decide("w", &[0, 4]), "dense: no elements");
        let rules = Rules::new(Pattern::TWO_OF_FOUR).prune("*");
        let odd = rules.decide(&LayerInfo::new("w", [8, 6]));
        assert!(matches!(odd, Eligibility::Leave(Reason::Columns { cols: 6, .. })));
    }

    #[test]
    fn the_last_matching_rule_decides() {
        let rules = Rules::new(Pattern::TWO_OF_FOUR)
            .leave("model.layers.1.*")
            .prune("*.down_proj.weight")
            .prune("lm_head.*")
            .leave("nothing");
        let decide = |name: &str| rules.decide(&LayerInfo::new(name, [8, 8])).to_string();
        assert_eq!(decide("model.layers.0.up_proj.weight"), "pruned");
        assert_eq!(
            decide("model.layers.1.up_proj.weight"),
            "dense: excluded by `model.layers.1.*`"
        );
        assert_eq!(decide("model.layers.1.down_proj.weight"), "pruned");
        assert_eq!(decide("lm_head.weight"), "pruned");
        let layers = [
            LayerInfo::new("model.layers.1.down_proj.weight", [8, 8]),
            LayerInfo::new("lm_head.weight", [8, 8]),
        ];
        assert_eq!(rules.unmatched(&layers), ["nothing"]);
    }

    #[test]
    fn stars_match_any_text() {
        for (pattern, name, want) in [
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "abcb", false),
            ("*", "", true),
            ("a", "ab", false),
            ("*é", "aé", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }
}
