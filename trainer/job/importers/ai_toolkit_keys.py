"""What the settings of an ai-toolkit job are here."""

from __future__ import annotations

from trainer.job.importers.kohya_keys import PRECISION
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
from trainer.job.importers.values import number

_ONE = Says("Sweetspot trains one folder at one size: the first is taken")
_CACHE = Says("pictures and captions are always encoded once and kept in a cache")
_MEMORY = Says("how their program spares memory; `[memory]` says how ours does")
_VIDEO = Says("of films and sound, which Sweetspot does not train")
_CONTROL = Says("unsupported: control pictures and masks are not read")
_NOISE = Says("unsupported: a kind of noise or loss of ai-toolkit's own")
_SHOW = Says("samples are rendered square, with the model's own scheduler")
_OTHER = Says("of other trainings than a plain LoRA's")
_UPLOADS = Says("uploading: Sweetspot sends nothing anywhere")
_META = Says("the file's own description: Sweetspot writes one from the run")
_STATE = Says("a run keeps all that it saved, to choose from")
_SCALES = Says("unsupported: its own scale of noise, pictures or loss",
               unless=lambda v: number(v) not in (0, 1),
               odd="unsupported: its own scale of noise, pictures or loss")  # fmt: skip

DATASET: dict[str, Rule] = {
    **each("folder_path dataset_path", Decides("dataset.folder, prior.folder")),
    "resolution": Decides("model.resolution", "of several, the largest"),
    "is_reg": Decides("prior.enabled"),
    "prior_reg": _OTHER,
    "num_repeats": Maps("dataset.repeats"),
    "shuffle_tokens": Maps("dataset.shuffle_tags"),
    "keep_tokens": Maps("dataset.keep_tags"),
    "caption_dropout_rate": Maps("dataset.caption_dropout"),
    "token_dropout_rate": Maps("dataset.tag_dropout"),
    "flip_x": Maps("dataset.flip"),
    "buckets": Maps("dataset.buckets"),
    "bucket_tolerance": Maps("dataset.bucket_step"),
    "trigger_word": Maps("dataset.trigger"),
    "default_caption": Maps("dataset.template"),
    "caption_ext": Says("captions are read from .txt files",
                        unless=lambda v: str(v).strip(". ") != "txt",
                        odd="captions are read from .txt files only: rename these"),
    "type": Says("pictures"),
    "flip_y": Says("pictures are not turned over", unless=is_on,
                   odd="unsupported: pictures turned over"),
    **each("random_crop random_scale square_crop scale poi augments augmentations "
           "shuffle_augmentations replay_transforms",
           Says("unsupported: pictures are cut at the middle, and not altered")),
    **each("cache_latents cache_latents_to_disk cache_tensors_to_disk cache_text_embeddings "
           "cache_clip_vision_to_disk load_image_when_caching_latents "
           "cache_latents_num_workers", _CACHE),
    **each("num_workers prefetch_factor debug fast_image_size",
           Says("how their program reads files; ours does by itself")),
    **each("num_frames fps shrink_video_to_frames auto_frame_count trim_auto_frame_count_tail "
           "do_i2v do_audio audio_preserve_pitch audio_normalize", _VIDEO),
    **each("control_path control_path_1 control_path_2 control_path_3 control_from_same_folder "
           "num_controls_from_same_folder control_transparent_color inpaint_path "
           "full_size_control_images alpha_mask mask_path unconditional_path invert_mask "
           "mask_min_value controls clip_image_path clip_image_from_same_folder "
           "clip_image_augmentations clip_image_shuffle_augmentations", _CONTROL),
    **each("network_weight loss_multiplier", Says("unsupported: pictures count alike",
           unless=lambda v: number(v) != 1, odd="unsupported: pictures count alike")),
    **each("random_triggers random_triggers_max replacements use_short_captions caption_type "
           "guidance_type extra_values standardize_images diff_output_preservation "
           "diff_output_preservation_class", _NOISE),
    "batch_size": Says("unsupported: one batch size for all; schedule.batch_size"),
}  # fmt: skip

_TRAIN: dict[str, Rule] = {
    **each("steps", Decides("schedule.steps")),
    **each("gradient_accumulation gradient_accumulation_steps", Decides(
        "schedule.accumulate", idle="it is 1, or the other one of its two names decides")),
    **each("lr unet_lr", Decides("optimizer.learning_rate")),
    **each("train_text_encoder text_encoder_lr", Decides("text_encoder.train")),
    "optimizer": Decides("optimizer.kind"),
    "optimizer_params.**": Decides("optimizer.weight_decay, optimizer.beta1, optimizer.beta2"),
    "optimizer_params": Says("no further arguments"),
    "lr_scheduler": Decides("schedule.kind"),
    **each("lr_scheduler_params lr_scheduler_params.**", Says("of schedules that are not there")),
    "timestep_type": Decides("model.flow.sampling, model.flow.shift"),
    "ema_config.use_ema": Decides("schedule.ema", idle="it is off"),
    "ema_config.ema_decay": Decides("schedule.ema", idle="a running mean is off"),
    **each("ema_config.use_feedback ema_config.param_multiplier ema_config", _NOISE),
    "batch_size": Maps("schedule.batch_size"),
    "gradient_checkpointing": Maps("compute.gradient_checkpointing"),
    "dtype": Maps("compute.precision", read=PRECISION),
    "max_grad_norm": Maps("schedule.clip"),
    "noise_offset": Maps("model.noise.offset",
                         foreign="a noise offset means nothing for flow matching"),
    **each("min_snr_gamma snr_gamma", Maps(
        "model.noise.min_snr_gamma",
        foreign="min-SNR weighs the prediction of noise; flow matching has none")),
    "reg_weight": Maps("prior.weight"),
    "prompt_dropout_prob": Maps("dataset.caption_dropout"),
    "train_unet": Says("the denoiser always trains", unless=lambda v: not is_on(v),
                       odd="unsupported: the denoiser always trains"),
    "noise_scheduler": Says("the model says how it was trained"),
    "content_or_style": Says("all times are drawn alike",
                             unless=lambda v: str(v).lower() != "balanced",
                             odd="unsupported: times drawn for content or style; "
                             "model.flow.mean does something similar"),
    "loss_type": Says("the loss is the squared error", unless=lambda v: str(v).lower() != "mse",
                      odd="unsupported: the loss is the squared error"),
    "bypass_guidance_embedding": Says(
        "dev's guidance is told while training: model.guidance", unless=is_on,
        odd="unsupported: guidance left out; dev is told model.guidance = 1 while it trains"),
    "min_denoising_steps": Says("all times are trained", unless=said_is_above(0),
                                odd="unsupported: all times are trained"),
    "max_denoising_steps": Says("all times are trained", unless=lambda v: number(v) < 999,
                                odd="unsupported: all times are trained"),
    "start_step": Says("a run of ours starts at its beginning"),
    **each("skip_first_sample force_first_sample disable_sampling", Says(
        "samples.every says when samples are rendered; 0 turns them off")),
    **each("cache_text_embeddings unload_text_encoder", _CACHE),
    **each("xformers sdp attention_backend", Says(
        "compute.attention chooses another than torch's")),
    **each("noise_multiplier target_noise_multiplier img_multiplier noisy_latent_multiplier "
           "latent_multiplier pred_scaler random_noise_multiplier random_noise_shift", _SCALES),
    **each("train_refiner refiner_lr train_turbo show_turbo_outputs embedding_lr adapter_lr "
           "adapter_assist_name_or_path adapter_assist_type free_u switch_boundary_every "
           "single_item_batching match_adapter_assist match_adapter_chance "
           "audio_loss_multiplier num_train_timesteps max_loss_debug max_loss "
           "merge_network_on_save merge_network_on_save_strength negative_prompt "
           "max_negative_prompts next_sample_timesteps unconditional_prompt", _OTHER),
    **each("learnable_snr_gos weight_jitter do_signal_correction_noise do_batch_noise_correction "
           "batch_noise_correction_scale do_signal_amplification signal_amplification_strength "
           "signal_correction_noise_scale adaptive_scaling_factor match_noise_norm "
           "short_and_long_captions short_and_long_captions_encoder_split loss_target "
           "inverted_mask_prior inverted_mask_prior_multiplier diff_output_preservation "
           "diff_output_preservation_multiplier diff_output_preservation_class "
           "blank_prompt_preservation blank_prompt_preservation_multiplier standardize_images "
           "standardize_latents dynamic_noise_offset do_cfg do_random_cfg cfg_scale "
           "max_cfg_scale cfg_rescale correct_pred_norm correct_pred_norm_multiplier "
           "t0_loss_target t0_velocity_equiv_weight do_fft_loss do_fft_velocity_equiv_weight "
           "prompt_saturation_chance do_prior_divergence target_norm_std target_norm_std_value "
           "linear_timesteps linear_timesteps2 do_paramiter_swapping paramiter_swapping_factor "
           "latent_feature_extractor_path latent_feature_loss_weight "
           "diffusion_feature_extractor_path diffusion_feature_extractor_weight "
           "optimal_noise_pairing_samples force_consistent_noise blended_blur_noise "
           "do_guidance_loss guidance_loss_target do_guidance_loss_cfg_zero "
           "guidance_loss_schedule do_differential_guidance differential_guidance_scale "
           "do_blank_stabilization", _NOISE),
    "validation_config": Says("validation.share holds pictures back"),
    "validation_config.**": Says("validation.share holds pictures back"),
}  # fmt: skip

_MODEL: dict[str, Rule] = {
    "name_or_path": Decides("model.base"),
    **each("arch is_flux is_xl is_v2 is_v3 is_pixart is_pixart_sigma is_auraflow is_lumina2 "
           "is_ssd is_vega", Decides("model.kind")),
    "is_v_pred": Decides("model.noise.prediction", idle="it is off, or of flow matching"),
    **each("quantize qtype", Decides("memory.base", "8 bits or nf4, the nearest")),
    **each("quantize_te qtype_te", Decides("memory.text", "8 bits or nf4, the nearest")),
    **each("layer_offloading layer_offloading_transformer_percent",
           Decides("memory.offload", idle="layers stay on the card")),
    "compile": Maps("compute.compile"),
    "block_compile": Maps("compute.compile"),
    "assistant_lora_path": Says("unsupported: an adapter that helps FLUX.1 schnell to train; "
                                "merge it into the base model first"),
    **each("vae_path te_name_or_path extras_name_or_path unet_path refiner_name_or_path "
           "refiner_start_at model_paths", Says("a model's folder holds its own parts")),
    **each("lora_path inference_lora_path unconditional_lora_path",
           Says("unsupported: training starts from the model and a fresh adapter")),
    **each("dtype vae_dtype te_dtype", Says("compute.precision says the format of all parts")),
    **each("vae_device te_device low_vram text_encoder_bits quantize_kwargs quantize_kwargs.** "
           "split_model_over_gpus split_model_other_module_param_count_scale auto_memory "
           "layer_offloading_text_encoder_percent compile_mode compile_fullgraph "
           "compile_dynamic cache_size_limit accuracy_recovery_adapter", _MEMORY),
    **each("ignore_if_contains only_if_contains", Says("adapter.targets says which modules")),
    **each("use_flux_cfg latent_space_version use_text_encoder_1 use_text_encoder_2 "
           "experimental_xl unet_sample_size attn_masking in_context model_kwargs "
           "model_kwargs.**", _OTHER),
}  # fmt: skip

_NETWORK: dict[str, Rule] = {
    "type": Decides("adapter.kind"),
    **each("linear rank", Decides("adapter.rank", idle="the other one of its two names decides")),
    **each("linear_alpha alpha", Decides(
        "adapter.alpha", "the rank for transformers, as ai-toolkit does",
        idle="linear_alpha decides")),
    "conv": Decides("adapter.targets", idle="convolutions do not learn"),
    "conv_alpha": Says("adapter.alpha counts for convolutions too"),
    "dropout": Decides("adapter.dropout", idle="it is off"),
    "network_kwargs.only_if_contains": Decides("adapter.targets"),
    "network_kwargs.ignore_if_contains": Says(
        "unsupported: modules left out by name; adapter.targets takes a regular expression"),
    **each("network_kwargs network_kwargs.**", Says("of ai-toolkit's other methods")),
    **each("lokr_full_rank lokr_factor old_lokr_format lorm lorm.** split_multistage_loras "
           "layer_offloading all_layers transformer_only", Says("of ai-toolkit's other methods")),
    "pretrained_lora_path": Says("unsupported: training starts from a fresh adapter"),
}  # fmt: skip

_SAMPLE: dict[str, Rule] = {
    "prompts": Decides("samples.prompts"),
    "samples.*.prompt": Decides("samples.prompts", idle="the list is in the first one's line"),
    "neg": Decides("samples.negative"),
    "seed": Maps("samples.seed"),
    "guidance_scale": Maps("samples.guidance"),
    "sample_steps": Maps("samples.steps"),
    "sample_every": Says("samples are rendered after epochs: samples.every"),
    **each("sample_start_step sampler width height walk_seed network_multiplier "
           "guidance_rescale format refiner_start_at extra_values num_frames fps do_cfg_norm "
           "adapter_conditioning_scale", _SHOW),
    "samples.*.**": _SHOW,
    "samples": _SHOW,
}  # fmt: skip

_PROCESS: dict[str, Rule] = {
    "type": Says("the kind of training"),
    "trigger_word": Decides("dataset.trigger"),
    **under("datasets.*", DATASET),
    **under("train", _TRAIN),
    **under("model", _MODEL),
    **under("network", _NETWORK),
    **under("sample", _SAMPLE),
    "save.dtype": Maps("save.precision", read=PRECISION),
    "save.save_every": Maps("save.every_steps"),
    "save.save_format": Says("LoRA files are safetensors"),
    "save.max_step_saves_to_keep": _STATE,
    **each("save.push_to_hub save.hf_repo_id save.hf_private", _UPLOADS),
    **each("training_folder sqlite_db_path performance_log_every torch_profiler",
           Says("where their program keeps its files")),
    "device": Says("compute.device chooses among several"),
    "logging": Says("logging: a run tells everything in events.jsonl in its folder"),
    "logging.**": Says("logging: a run tells everything in events.jsonl in its folder"),
    **each("slider slider.** adapter adapter.** embedding embedding.** decorator decorator.** "
           "guidance guidance.** first_sample first_sample.** do_lorm lorm_extract_mode "
           "lorm_extract_mode_param network train model sample save datasets datasets.*",
           _OTHER),
}  # fmt: skip

TABLE: dict[str, Rule] = {
    "job": Says("what is done with the processes"),
    "config.name": Decides("name", "letters that a file cannot have become dashes"),
    **under("config.process.*", _PROCESS),
    **each("config.training_folder config.device config.log_dir config.dtype",
           Says("where their program keeps its files")),
    "meta": _META,
    "meta.**": _META,
}  # fmt: skip
