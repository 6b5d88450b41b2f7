//! Tiled linear layers for sm_80: `mma.sp` and its dense twin, from the same code.
//!
//! One block computes a tile of Y. `copies` brings tiles of W, X and metadata from memory to shared
//! memory, `fragments` brings them from there to registers and multiplies, `main_loop` lays both over
//! each other in time, `store` takes the accumulators through the epilogue to Y.

mod copies;
mod fragments;
mod geometry;
mod main_loop;
mod parts;

use super::params::Params;
use super::pieces::{linear_header, shared_base};
use super::{raster, store};
use geometry::Geometry;
use quickpick_kernels::KernelSpec;
use quickpick_ptx::{Kernel, Module, ParamKind};

/// The text of a tiled linear layer; `None` for other rows.
pub(super) fn emit(spec: &KernelSpec) -> Option<String> {
    let g = Geometry::new(spec)?;
    let mut k = Kernel::new(spec.to_string());
    let params = Params::declare(&mut k, g.sparse, spec.scales());
    let share = k.param("tiles_per_part", ParamKind::U32);
    let symbol = k.dynamic_shared("smem", 128);
    k.limits.threads = Some(g.threads().into());
    k.limits.min_blocks = Some(g.blocks_per_sm()).filter(|&blocks| blocks > 1);
    let smem = shared_base(&mut k, symbol);
    let place = raster::Place::new(&mut k, g.tile);
    let copies = copies::Copies::new(&mut k, &g, &params, share, place, smem);
    copies.first_tiles(&mut k, g.stages);
    let fragments = fragments::Fragments::new(&mut k, &g, smem);
    main_loop::emit(&mut k, &g, &copies, &fragments);
    parts::emit(&mut k, &g, params.workspace, &fragments.acc, smem);
    store::emit(&mut k, &g.layout(), &params, place, fragments.acc, smem);
    Some(Module::new(&header(spec, &g), k).to_string())
}

/// Whether this is a tiled linear layer that [`emit`] can write.
pub(super) fn accepts(spec: &KernelSpec) -> bool {
    Geometry::new(spec).is_some_and(|g| g.fits())
}

fn header(spec: &KernelSpec, g: &Geometry) -> String {
    let tile = g.tile;
    let kept = if g.sparse { ", kept values" } else { "" };
    let mut lines = linear_header(spec);
    lines.extend([
        format!(
            "tile    {} (m) × {} (n) × {} (k), {} stages; {}×{} warps of {}×{}",
            tile.m,
            tile.n,
            tile.k,
            g.stages,
            g.warps.0,
            g.warps.1,
            16 * g.m_tiles,
            8 * g.n_tiles,
        ),
        format!(
            "launch  grid ⌈m/{}⌉ × ⌈n/{}⌉ × parts of k, {} threads, {} bytes of dynamic shared memory",
            tile.m,
            tile.n,
            g.threads(),
            g.shared_bytes(),
        ),
        format!("        strips of {} m-tiles, each walked along n", raster::STRIP),
        format!("stage   {} bytes:", g.stage_bytes()),
        format!("  {:>6}  A  {} rows of {} bytes: W{kept}", 0, tile.m, g.a_row),
        format!("  {:>6}  B  {} rows of {} bytes: X", g.b_offset(), tile.n, g.b_row),
    ]);
    if g.sparse {
        let (at, words) = (g.meta_offset(), g.slab_bytes() / 4);
        let columns = g.k() / 2;
        lines.push(format!(
            "  {at:>6}  metadata  2 slabs ({columns} columns of k) of {words} words"
        ));
    }
    let swizzle = |row: u32| if row == 64 { "⌊r/2⌋ mod 4" } else { "r mod 8" };
    lines.push(format!(
        "        16-byte piece c of row r lies at c ⊕ ({}) in A, c ⊕ ({}) in B",
        swizzle(g.a_row),
        swizzle(g.b_row),
    ));
    lines.push(format!(
        "flags   1:0 none, relu, gelu, silu; 2 bias; 3 residual; 4 Y is f32{}; 8 gated; Y leaves in {} part{}",
        if spec.scales() { "; 5 scales; 7 Y is f16" } else { "" },
        g.layout().store_parts(),
        if g.layout().store_parts() > 1 { "s" } else { "" },
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use quickpick_kernels::{KERNELS, Target};

    #[test]
    fn reads_back_as_it_was_written() {
        for spec in KERNELS.iter().filter(|s| s.target == Target::Sm80) {
            let Some(text) = super::emit(spec) else { continue };
            let module = quickpick_ptx::parse(&text).unwrap_or_else(|e| panic!("{spec}: {e}"));
            assert_eq!(module.to_string(), text, "{spec}");
        }
    }
}
