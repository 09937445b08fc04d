//! The model that is part of the program, so that the first run needs no download.

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        /// Name and content of each file.
        pub(super) const FILES: &[(&str, &[u8])] = &[
            $(($name, include_bytes!(concat!("../../testdata/model/", $name)))),+
        ];
    };
}

embedded! {
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
