"""What OneTrainer's settings are here, those of older versions too."""

from __future__ import annotations

from trainer.job.importers.rules import (
    Decides,
    Maps,
    Rule,
    Says,
    each,
    is_on,
    said_is_above,
    under,
)
from trainer.job.importers.values import number, one_of

_FORMATS = {"BFLOAT_16": "bf16", "FLOAT_16": "fp16", "FLOAT_32": "fp32", "TFLOAT_32": "fp32"}
_PRECISION = one_of({name.lower(): ours for name, ours in _FORMATS.items()},
                    otherwise="formats are bf16, fp16 and fp32")  # fmt: skip
_FILES = Says("where their program keeps its files")
_LOGS = Says("logging: a run tells everything in events.jsonl in its folder")
_MEMORY = Says("how their program spares memory; `[memory]` says how ours does")
_CACHE = Says("pictures and captions are always encoded once and kept in a cache")
_STATE = Says("a run always keeps the state to resume from, and cleans up after itself")
_OTHER = Says("of models that Sweetspot does not train")
_EXTRA = Says("unsupported: learned words (embeddings)")
_CLOUD = Says("machines for rent: Sweetspot trains where it is started")
_LOSS = Says("unsupported: the loss is the squared error", unless=lambda v: number(v) > 0,
             odd="unsupported: the loss is the squared error")  # fmt: skip
_AUGMENTS = Says("unsupported: pictures are mirrored at most")
_METHOD = Says("of a method that is not chosen, or not there")
_SHOW = Says("samples are rendered square, with the model's own scheduler")

CONCEPT: dict[str, Rule] = {
    "path": Decides("dataset.folder, prior.folder", idle="this concept is not taken"),
    "type": Decides("prior.enabled", idle="the kind of concept"),
    "balancing": Decides("dataset.repeats", idle="another concept's, or not a number of repeats"),
    "balancing_strategy": Says("how often pictures are shown: dataset.repeats"),
    "image.enable_random_flip": Maps("dataset.flip"),
    "text.enable_tag_shuffling": Maps("dataset.shuffle_tags"),
    "text.keep_tags_count": Maps("dataset.keep_tags"),
    **each("text.tag_dropout_probability text.tag_dropout_enable",
           Decides("dataset.tag_dropout", idle="it is off")),
    "text.prompt_source": Says(
        "captions lie beside the pictures, or come from folder names",
        unless=lambda v: str(v).lower() not in ("sample", "filename"),
        odd="captions come from .txt files beside the pictures, or from folder names: put this "
        "file's words there"),
    "text.prompt_path": Says("captions lie beside the pictures"),
    **each("name seed enabled include_subdirectories image_variations text_variations "
           "concept_stats concept_stats.** __version image.__version text.__version",
           Says("of no concern: folders are read with those in them, and each epoch varies")),
    "loss_weight": Says("unsupported: pictures count alike", unless=lambda v: number(v) != 1,
                        odd="unsupported: pictures count alike"),
    "image.enable_crop_jitter": Says("pictures are cut at the middle"),
    "image.**": _AUGMENTS,
    "text.**": Says("unsupported: how captions are altered beyond tags"),
}  # fmt: skip

_PART: dict[str, Rule] = {
    "train": Says("which parts learn: the denoiser always, text encoders by text_encoder.train"),
    "learning_rate": Decides("optimizer.learning_rate, text_encoder.learning_rate",
                             idle="learning_rate decides"),
    "weight_dtype": Decides("memory.base, memory.text",
                            idle="the part is held in compute.precision"),
    "offload_fraction": Decides("memory.offload", idle="parts besides the denoiser wait by "
                                "themselves: memory.staged"),
    "gradient_checkpointing": Decides("compute.gradient_checkpointing", idle="of a part alone"),
    "guidance_scale": Maps("model.guidance"),
    "model_name": Says("a model's folder holds its own parts; put this one into it"),
    **each("include stop_training_after stop_training_after_unit train_embedding attention_mask "
           "__version", Says("a part's own detail, which is not to be set here")),
    "dropout_probability": Says("unsupported: captions are dropped, not encoders: "
                                "dataset.caption_dropout"),
    "activation_offloading": _MEMORY,
}  # fmt: skip

_SAMPLE: dict[str, Rule] = {
    "prompt": Decides("samples.prompts"),
    "negative_prompt": Maps("samples.negative"),
    "seed": Maps("samples.seed"),
    "diffusion_steps": Maps("samples.steps"),
    "cfg_scale": Maps("samples.guidance"),
    "**": _SHOW,
}

TABLE: dict[str, Rule] = {
    "model_type": Decides("model.kind"),
    "base_model_name": Decides("model.base"),
    "training_method": Decides("adapter.kind"),
    **each("force_v_prediction force_epsilon_prediction",
           Decides("model.noise.prediction", idle="the model says it")),
    "peft_type": Decides("adapter.kind"),
    **each("lora_rank", Decides("adapter.rank", "16 where none is given")),
    "lora_alpha": Decides("adapter.alpha", "1 where none is given"),
    "dropout_probability": Decides("adapter.dropout", idle="it is off"),
    **each("layer_filter_preset lora_layer_preset layer_filter lora_layers", Decides(
        "adapter.targets", "presets by name, pieces of names as an expression",
        idle="layer_filter_preset decides, or layer_filter")),
    **each("layer_filter_regex lora_layers_regex", Says("how layer_filter is read")),
    "learning_rate": Decides("optimizer.learning_rate", idle="a part's own rate decides"),
    "learning_rate_scheduler": Decides("schedule.kind"),
    "learning_rate_warmup_steps": Decides("schedule.warmup", "a share of the run"),
    "epochs": Decides("schedule.epochs", "100 where none is given"),
    "resolution": Decides("model.resolution", "of several, the largest"),
    "batch_size": Maps("schedule.batch_size"),
    "gradient_accumulation_steps": Maps("schedule.accumulate"),
    "clip_grad_norm": Maps("schedule.clip"),
    "ema": Decides("schedule.ema", idle="it is off"),
    "ema_decay": Decides("schedule.ema", idle="a running mean is off"),
    "train_dtype": Maps("compute.precision", read=_PRECISION),
    "output_dtype": Maps("save.precision", read=_PRECISION),
    "gradient_checkpointing": Decides("compute.gradient_checkpointing"),
    "compile": Maps("compute.compile"),
    "train_device": Maps("compute.device"),
    "aspect_ratio_bucketing": Maps("dataset.buckets"),
    "offset_noise_weight": Maps(
        "model.noise.offset", foreign="a noise offset means nothing for flow matching"),
    "min_snr_gamma": Maps("model.noise.min_snr_gamma",
                          foreign="min-SNR weighs the prediction of noise; flow matching has none"),
    "loss_weight_fn": Decides("model.noise.min_snr_gamma"),
    "loss_weight_strength": Decides("model.noise.min_snr_gamma", idle="of loss_weight_fn"),
    **each("timestep_distribution noising_weight noising_bias timestep_shift "
           "dynamic_timestep_shifting", Decides(
               "model.flow", idle="it decides nothing for this model, or with these times")),
    **each("min_noising_strength", Says("all times are trained", unless=said_is_above(0),
           odd="unsupported: all times are trained")),
    "max_noising_strength": Says("all times are trained", unless=lambda v: number(v) < 1,
                                 odd="unsupported: all times are trained"),
    "text_encoder_2_sequence_length": Maps("model.max_tokens"),
    "text_encoder_sequence_length": Says("tokens that the first encoder reads: all it can"),
    **each("text_encoder_layer_skip text_encoder_2_layer_skip text_encoder_3_layer_skip "
           "text_encoder_4_layer_skip", Says(
               "captions are read at the last layer", unless=said_is_above(0),
               odd="unsupported: captions are read at the layer the model was made with")),
    **each("unet transformer prior text_encoder text_encoder_2 text_encoder_3 text_encoder_4 vae "
           "concepts samples", Says("nothing is set in it")),
    **under("unet", _PART), **under("transformer", _PART), **under("prior", _PART),
    **under("text_encoder", _PART), **under("text_encoder_2", _PART),
    **under("text_encoder_3", _PART), **under("text_encoder_4", _PART),
    **under("vae", _PART),
    **each("effnet_encoder.** decoder.** decoder_text_encoder.** decoder_vqgan.** "
           "unconditional_transformer.** frames force_circular_padding vb_loss_strength "
           "custom_conditioning_image", _OTHER),
    "concept_file_name": Decides("dataset", "the file is read too where it is found"),
    "sample_definition_file_name": Decides("samples", "the file is read too where it is found"),
    **under("concepts.*", CONCEPT),
    **under("samples.*", _SAMPLE),
    "optimizer.optimizer": Decides("optimizer.kind"),
    "optimizer": Decides("optimizer.kind"),
    "optimizer.**": Decides("optimizer.weight_decay, optimizer.beta1, optimizer.beta2",
                            idle="a detail of its optimizer"),
    "optimizer_defaults": Says("what its form offers for other optimizers"),
    "optimizer_defaults.**": Says("what its form offers for other optimizers"),
    **each("mse_strength", Says("the loss is the squared error")),
    **each("mae_strength log_cosh_strength huber_strength", _LOSS),
    "huber_delta": Says("of Huber's loss, which is not there"),
    **each("generalized_offset_noise perturbation_noise_weight "
           "rescale_noise_scheduler_to_zero_terminal_snr loss_scaler learning_rate_scaler",
           Says("unsupported: OneTrainer's own noise, loss and scaling")),
    "masked_training": Says("masks are not read", unless=is_on,
                            odd="unsupported: masks are not read; whole pictures are learned"),
    **each("unmasked_probability unmasked_weight normalize_masked_area_loss "
           "masked_prior_preservation_weight", Says("of masks, which are not read")),
    "lora_decompose": Says("DoRA is off", unless=is_on,
                           odd="unsupported: DoRA; a plain LoRA is trained"),
    **each("lora_decompose_norm_epsilon lora_decompose_output_axis oft_block_size "
           "oft_block_share oft_scaled lokr_dim lokr_decompose_both lokr_decompose_factor "
           "lokr_use_tucker lokr_weight_decompose lokr_dora_on_output lokr_full_matrix "
           "lokr_vec_trick", _METHOD),
    "lora_weight_dtype": Says("what trains is always fp32"),
    "lora_model_name": Says("unsupported: training starts from a fresh adapter"),
    **each("embedding embedding.** additional_embeddings additional_embeddings.** "
           "embedding_learning_rate embedding_weight_dtype preserve_embedding_norm "
           "bundle_additional_embeddings", _EXTRA),
    **each("learning_rate_cycles learning_rate_min_factor custom_learning_rate_scheduler "
           "scheduler_params scheduler_params.**", Says("of schedules that are not there")),
    **each("weight_dtype fallback_train_dtype enable_autocast_cache", Says(
        "compute.precision says the format of all parts")),
    **each("async_offloading enable_async_offloading enable_activation_offloading temp_device "
           "quantization quantization.** dataloader_threads", _MEMORY),
    "layer_offload_fraction": Maps("memory.offload"),
    "attention_mechanism": Says("compute.attention chooses another than torch's"),
    **each("latent_caching clear_cache_before_training only_cache", _CACHE),
    **each("multi_gpu device_indexes gradient_reduce_precision fused_gradient_reduce "
           "async_gradient_reduce async_gradient_reduce_buffer", Says(
               "how it shares work among cards; docs/cluster.md says how ours is")),
    **each("tensorboard tensorboard_expose tensorboard_always_on tensorboard_port "
           "samples_to_tensorboard debug_mode debug_dir", _LOGS),
    **each("workspace_dir cache_dir huggingface_cache_dir offline_mode output_model_destination "
           "output_model_format save_filename_prefix include_train_config prevent_overwrites",
           _FILES),
    "validation": Says("validation.share holds pictures back"),
    **each("validate_after validate_after_unit", Says("validation.every counts epochs")),
    **each("continue_last_backup backup_after backup_after_unit rolling_backup "
           "rolling_backup_count backup_before_save", _STATE),
    **each("save_every save_every_unit save_skip_first save_after save_after_unit", Says(
        "each epoch is kept, to choose from: save.every_epochs")),
    **each("sample_after sample_after_unit sample_skip_first sample_image_format "
           "sample_video_format sample_audio_format non_ema_sampling", Says(
               "samples are rendered after epochs: samples.every")),
    "ema_update_step_interval": Says("a running mean is updated at each step"),
    **each("cloud cloud.**", _CLOUD),
    **each("secrets secrets.**", Says("a secret, which no settings file should hold", secret=True)),
    **each("__version **.__version", Says("the version of the file")),
}  # fmt: skip
