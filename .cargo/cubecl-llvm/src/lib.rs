//! Stands in for the crate of this name: what cubecl-cuda names of it, without an LLVM.
//!
//! cubecl-cuda can compile kernels in two ways, by CUDA C++ (NVRTC, loaded at run time from the
//! machine's CUDA) and by LLVM, and depends on both whichever is used. The real crate's build
//! script downloads an LLVM of some hundred megabytes, which a builder without network cannot do
//! and which we would not run: our feature `cuda` picks NVRTC (cubecl-cuda's feature `cpp`). So
//! `[patch.crates-io]` puts these types in its place, and compiling by them is an error that says
//! so. To be dropped once cubecl-cuda makes its LLVM backend optional.

use std::ffi::c_char;
use std::fmt;

use cubecl_core::environment::backtrace::BackTrace;
use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_runtime::compiler::{CompilationError, Compiler};
use cubecl_runtime::kernel::BufferIOAttr;

/// The LLVM backend of a CUDA device.
pub mod nvptx {
    /// PTX versions.
    pub mod ptx_version {
        use std::fmt;

        /// A PTX version that LLVM would write; there is none here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PtxVersion {}

        impl PtxVersion {
            /// None: nothing writes PTX here.
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {}
            }
        }
    }
}

/// What backends share.
pub mod shared {
    /// What a device offers, narrowed to what a backend lowers.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// A target of LLVM.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA's.
            Nvptx,
        }

        /// Nothing to narrow: no kernel is compiled here.
        pub fn restrict_features(_: &mut DeviceProperties, _: GpuTarget) {}
    }
}

/// A target of LLVM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA's.
    #[default]
    Nvptx,
}

/// Refuses to compile.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What it would compile for.
    pub target: LlvmTarget,
}

/// What the compiler would be told.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// Only on AMD's devices.
    pub arch: Option<()>,
    /// The device's generation.
    pub sm_arch: Option<SmArch>,
    /// The version to write.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// How parameters are passed.
    pub grid_constants: bool,
    /// So that the caller's `..Default::default()` has something to fill in.
    pub rest: (),
}

/// A compiled module; none is ever made.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// PTX, ended by a zero.
    pub ptx: Vec<c_char>,
    /// LLVM's text.
    pub ir: String,
    /// Shared memory of a launch, in bytes.
    pub shared_memory_size: usize,
    /// How each buffer is used.
    pub io: Vec<BufferIOAttr>,
}

/// What compiling gives; never anything.
#[derive(Clone)]
pub enum PlironArtifact {
    /// PTX.
    NvptxCode(NvptxModule),
    /// So that the caller's other arms are needed.
    Nothing,
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing: built without LLVM")
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "built without LLVM: cubecl-cuda needs its feature `cpp`".to_owned(),
            backtrace: BackTrace::capture(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}
