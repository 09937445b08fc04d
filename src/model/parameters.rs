//! The parameters of a model by their Hugging Face names, for optimizers and checkpoints.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::{ModelConfig, ModelError, Projection};

/// Name and shape of one parameter, as Hugging Face stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Hugging Face name.
    pub name: String,
    /// `[out, in]` of a matrix (`[vocab, hidden]` of the embedding), `[n]` of a norm or bias.
    pub shape: Vec<usize>,
}

impl ParameterSpec {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element; never true of a valid configuration.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

pub(super) const INPUT_NORM: &str = "input_layernorm.weight";
pub(super) const POST_NORM: &str = "post_attention_layernorm.weight";
pub(super) const QUERY_NORM: &str = "self_attn.q_norm.weight";
pub(super) const KEY_NORM: &str = "self_attn.k_norm.weight";
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(super) const FINAL_NORM: &str = "model.norm.weight";
pub(super) const HEAD: &str = "lm_head.weight";

pub(super) fn block_name(layer: usize, name: &str) -> String {
    format!("model.layers.{layer}.{name}")
}

impl ModelConfig {
    /// Every parameter of this model: embedding, blocks, final norm, and the head if it is not
    /// tied to the embedding.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let hidden = self.hidden_size;
        let spec = |name: String, shape: Vec<usize>| ParameterSpec { name, shape };
        let block = self.block_parameters();
        let mut specs = vec![spec(EMBEDDING.to_owned(), vec![self.vocab_size, hidden])];
        for layer in 0..self.layers {
            let named = block.iter();
            specs.extend(named.map(|(name, shape)| spec(block_name(layer, name), shape.clone())));
        }
        specs.push(spec(FINAL_NORM.to_owned(), vec![hidden]));
        if !self.tied {
            specs.push(spec(HEAD.to_owned(), vec![self.vocab_size, hidden]));
        }
        specs
    }

    /// Names within a block, and shapes.
    fn block_parameters(&self) -> Vec<(String, Vec<usize>)> {
        let norms = [
            (INPUT_NORM, self.hidden_size, true),
            (QUERY_NORM, self.head_dim, self.architecture.has_head_norms()),
            (KEY_NORM, self.head_dim, self.architecture.has_head_norms()),
            (POST_NORM, self.hidden_size, true),
        ];
        let norms = norms.into_iter().filter(|(_, _, there)| *there);
        let mut all: Vec<_> =
            norms.map(|(name, width, _)| (name.to_owned(), vec![width])).collect();
        for projection in Projection::ALL {
            let [inputs, outputs] = projection.features(self);
            let name = projection.name();
            all.push((format!("{name}.weight"), vec![outputs, inputs]));
            if projection.has_bias(self) {
                all.push((format!("{name}.bias"), vec![outputs]));
            }
        }
        all
    }

    /// Number of weights.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(ParameterSpec::len).sum()
    }
}

/// One parameter (or its gradient): the elements in row-major Hugging Face order.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// `[out, in]`, or `[n]`.
    pub shape: Vec<usize>,
    /// The elements, `[out * in]` or `[n]`, f32.
    pub values: Tensor<1>,
}

impl Parameter {
    /// A parameter of these values.
    ///
    /// # Panics
    /// If the number of values is not the shape's.
    pub fn new(shape: Vec<usize>, values: Tensor<1>) -> Self {
        let len: usize = shape.iter().product();
        assert_eq!(values.dims(), [len], "parameter of shape {shape:?}");
        Self { shape, values }
    }

    /// Copies values to a device.
    pub fn from_values(shape: Vec<usize>, values: Vec<f32>, device: &Device) -> Self {
        let len = values.len();
        Self::new(shape, Tensor::from_data(TensorData::new(values, [len]), device))
    }

    /// A matrix rather than the vector of a norm or bias; weight decay applies to these only.
    pub fn is_matrix(&self) -> bool {
        self.shape.len() == 2
    }

    /// The elements as `[in, out]`, contiguous: the layout that the decoder multiplies with.
    pub(super) fn input_major(&self) -> Tensor<2> {
        let [rows, columns] = [self.shape[0], self.shape[1]];
        contiguous(self.values.clone().reshape([rows, columns]).transpose())
    }

    /// The inverse of [`Parameter::input_major`].
    pub(super) fn from_input_major(weight: Tensor<2>) -> Self {
        let [rows, columns] = weight.dims();
        Self::new(vec![columns, rows], weight.transpose().reshape([rows * columns]))
    }

    /// A matrix that is stored as it is used: the embedding, `[vocab, hidden]`.
    pub(super) fn from_rows(weight: Tensor<2>) -> Self {
        let [rows, columns] = weight.dims();
        Self::new(vec![rows, columns], weight.reshape([rows * columns]))
    }

    pub(super) fn from_vector(weight: Tensor<1>) -> Self {
        Self::new(vec![weight.dims()[0]], weight)
    }

    /// The elements, copied to the host in Hugging Face order.
    ///
    /// # Errors
    /// [`ModelError::Device`] if the device cannot give them back.
    pub fn to_vec(&self) -> Result<Vec<f32>, ModelError> {
        read_back(self.values.clone())
    }
}

/// Copies a tensor to the host.
pub(super) fn read_back<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| ModelError::Device { reason: error.to_string() })
}

/// The same matrix with its rows next to each other in memory.
pub(super) fn contiguous(matrix: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = matrix.dims();
    // A view that is not contiguous cannot become one dimension without a copy.
    matrix.reshape([rows * columns]).reshape([rows, columns])
}

/// An ordered map from Hugging Face name to parameter (or gradient).
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    by_name: BTreeMap<String, Parameter>,
}

impl Parameters {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a parameter in, and returns the one that stood there.
    pub fn insert(&mut self, name: impl Into<String>, parameter: Parameter) -> Option<Parameter> {
        self.by_name.insert(name.into(), parameter)
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.by_name.get(name)
    }

    /// Takes the parameter of this name out.
    pub fn remove(&mut self, name: &str) -> Option<Parameter> {
        self.by_name.remove(name)
    }

    /// Every name and parameter, in the order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Parameter)> {
        self.by_name.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// Every name, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Checks that these are exactly the parameters of `config`.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] naming the first one that is missing, too many, or misshapen.
    pub fn check(&self, config: &ModelConfig) -> Result<(), ModelError> {
        self.check_specs(&config.parameters())
    }

    /// Checks that these are exactly the parameters of `specs`.
    pub(super) fn check_specs(&self, specs: &[ParameterSpec]) -> Result<(), ModelError> {
        let wrong = |name: &str, found: String, expected: String| {
            Err(ModelError::Parameter { name: name.to_owned(), found, expected })
        };
        for spec in specs {
            let expected = format!("of shape {:?}", spec.shape);
            match self.get(&spec.name) {
                None => return wrong(&spec.name, "missing".to_owned(), expected),
                Some(parameter) if parameter.shape != spec.shape => {
                    return wrong(&spec.name, format!("of shape {:?}", parameter.shape), expected);
                }
                Some(_) => {}
            }
        }
        match self.names().find(|name| specs.iter().all(|spec| spec.name != *name)) {
            Some(name) => wrong(name, "there".to_owned(), "no such parameter".to_owned()),
            None => Ok(()),
        }
    }
}

impl FromIterator<(String, Parameter)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, Parameter)>>(parameters: I) -> Self {
        Self { by_name: parameters.into_iter().collect() }
    }
}

impl IntoIterator for Parameters {
    type Item = (String, Parameter);
    type IntoIter = std::collections::btree_map::IntoIter<String, Parameter>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_name.into_iter()
    }
}
