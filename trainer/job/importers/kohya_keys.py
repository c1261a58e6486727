"""What sd-scripts' arguments are here; kohya_ss and `ss_*` headers call most of them the same."""

from __future__ import annotations

from trainer.job.importers.rules import Decides, Maps, Rule, Says, each, is_on, said_is_above
from trainer.job.importers.values import number, one_of

_FLOW_SNR = (
    "min-SNR weighs the prediction of noise; flow matching has none, and sd-scripts passes over "
    "it silently too"
)
FLOW_NOISE = "a noise offset means nothing for flow matching; sd-scripts passes over it too"
PRECISION = one_of(
    {
        "no": "fp32", "fp32": "fp32", "float": "fp32", "float32": "fp32", "fp16": "fp16",
        "float16": "fp16", "bf16": "bf16", "bfloat16": "bf16",
    },
    otherwise="formats are bf16, fp16 and fp32",
)  # fmt: skip
_LOGS = Says("logging: a run tells everything in events.jsonl in its folder")
_UPLOADS = Says("uploading: Sweetspot sends nothing anywhere")
_SECRET = Says("a secret, which no settings file should hold", secret=True)
_NAMES = Says("the file's own description: Sweetspot writes one from the run")
_LAUNCH = Says("how accelerate starts its processes; docs/cluster.md says how ours are")
_DYNAMO = Says("how torch compiles; compute.compile turns it on", unless=lambda v: False)
_MEMORY = Says("how their program spares memory; `[memory]` says how ours does")
_STATE = Says("a run always keeps the state to resume from, and cleans up after itself")
_CACHE = Says("pictures and captions are always encoded once and kept in a cache")
_THREADS = Says("how their program reads files; ours does by itself")
_WORDS = Says("how captions are read beyond commas is not to be set here")
_OTHER = Says("of a model that Sweetspot does not train")
_BUCKETS = Says("buckets are of the area of model.resolution, whatever sides that takes")
_ATTENTION = Says("torch's own attention is as fast; compute.attention chooses another")
_SAMPLER = Says("samples are rendered with the model's own scheduler")
_LOSS = Says("unsupported: the loss is the squared error; Huber's and others are not there")
_NETWORK = Says("unsupported: one rank and one dropout for all modules of the adapter")
_TOKENS = Says("CLIP reads 75 tokens; longer captions are cut")
_T5 = Says("T5 reads as many tokens as model.max_tokens says; padding is as the model was made")

TABLE: dict[str, Rule] = {
    "pretrained_model_name_or_path": Decides("model.base", "a hub's name or a folder"),
    **each("v2 sdxl flux1_checkbox sd3_checkbox model_train_type", Decides("model.kind")),
    "v_parameterization": Decides("model.noise.prediction"),
    "network_module": Decides("adapter.kind, model.kind", "the module tells the model too"),
    "network_dim": Decides("adapter.rank"),
    "network_alpha": Decides("adapter.alpha", "0 is the rank; 1 where none is given"),
    "network_dropout": Decides("adapter.dropout"),
    "network_args.algo": Decides("adapter.kind", "of lycoris.kohya"),
    **each("network_args.conv_dim network_args.conv_alpha", Decides("adapter.targets")),
    **each("conv_dim conv_alpha", Decides("adapter.targets", "above 0: convolutions too")),
    "optimizer_type": Decides("optimizer.kind"),
    **each("use_8bit_adam use_lion_optimizer", Decides("optimizer.kind")),
    "optimizer_args.**": Decides("optimizer.weight_decay, optimizer.beta1, optimizer.beta2"),
    "learning_rate": Decides("optimizer.learning_rate"),
    "unet_lr": Decides("optimizer.learning_rate", "before learning_rate"),
    **each("text_encoder_lr t5xxl_lr", Decides("text_encoder.learning_rate", "0: not trained")),
    "network_train_unet_only": Decides("text_encoder.train", "the opposite"),
    "network_train_text_encoder_only": Decides("text_encoder.train"),
    "lr_scheduler": Decides("schedule.kind", "restarts, powers: the nearest"),
    "lr_scheduler_type": Decides("schedule.kind"),
    "lr_warmup_steps": Decides("schedule.warmup", "divided by the run's steps"),
    "max_train_steps": Decides("schedule.steps"),
    "max_train_epochs": Decides("schedule.epochs", "before steps"),
    "resolution": Decides("model.resolution", "the square of the same area"),
    "train_data_dir": Decides("dataset.folder", "names like `10_sks dog` tell repeats and words"),
    "reg_data_dir": Decides("prior.folder, prior.enabled"),
    "dataset_config": Decides("dataset", "the file is read too where it is found"),
    **each("timestep_sampling sigmoid_scale discrete_flow_shift training_shift",
           Decides("model.flow", idle="of flow matching, which this model is not trained by")),
    **each("weighting_scheme logit_mean logit_std mode_scale",
           Decides("model.flow", idle="of flow matching, which this model is not trained by")),
    "model_prediction_type": Decides("model.flow.weighting", idle="of FLUX.1"),
    "guidance_scale": Decides("model.guidance", idle="of FLUX.1"),
    "sample_prompts": Decides("samples.prompts", "texts with `--n`, `--l`, `--s`, `--d`"),
    "network_args.train_blocks": Decides("model.double_blocks, model.single_blocks"),
    "train_blocks": Decides("model.double_blocks, model.single_blocks", idle="of FLUX.1"),
    **each("network_args.train_double_block_indices train_double_block_indices",
           Maps("model.double_blocks")),
    **each("network_args.train_single_block_indices train_single_block_indices",
           Maps("model.single_blocks")),
    "network_args.train_block_indices": Maps("model.joint_blocks"),
    "min_snr_gamma": Maps("model.noise.min_snr_gamma", foreign=_FLOW_SNR),
    "noise_offset": Decides("model.noise.offset", idle="it is off"),
    "train_batch_size": Maps("schedule.batch_size"),
    "gradient_accumulation_steps": Maps("schedule.accumulate"),
    "max_grad_norm": Maps("schedule.clip"),
    "seed": Maps("schedule.seed"),
    "mixed_precision": Maps("compute.precision", "`no` is fp32", PRECISION),
    "save_precision": Maps("save.precision", "`float` is fp32", PRECISION),
    "gradient_checkpointing": Maps("compute.gradient_checkpointing"),
    "torch_compile": Maps("compute.compile"),
    "save_every_n_epochs": Maps("save.every_epochs", zero="each epoch is kept, to choose from"),
    "save_every_n_steps": Maps("save.every_steps"),
    "sample_every_n_epochs": Maps("samples.every"),
    "output_name": Maps("name", "letters that a file cannot have become dashes"),
    "prior_loss_weight": Maps("prior.weight"),
    "flip_aug": Maps("dataset.flip"),
    "shuffle_caption": Maps("dataset.shuffle_tags"),
    "keep_tokens": Maps("dataset.keep_tags", "tokens are tags here"),
    "caption_dropout_rate": Maps("dataset.caption_dropout"),
    "caption_tag_dropout_rate": Maps("dataset.tag_dropout"),
    "enable_bucket": Maps("dataset.buckets"),
    "bucket_reso_steps": Maps("dataset.bucket_step"),
    "bucket_no_upscale": Maps("dataset.upscale", "the opposite", lambda v: not is_on(v)),
    "dataset_repeats": Maps("dataset.repeats"),
    "validation_split": Maps("validation.share"),
    "validate_every_n_epochs": Maps("validation.every"),
    "t5xxl_max_token_length": Maps("model.max_tokens"),
    "fp8_base": Decides("memory.base", "`fp8`"),
    "fp8_base_unet": Decides("memory.base", "`fp8`"),
    "blocks_to_swap": Decides("memory.offload", "their share of all blocks"),
    "clip_skip": Says(
        "captions are read at the last layer", unless=said_is_above(1),
        odd="unsupported: captions are read at CLIP's last layer (SDXL: the one it was made "
        "with); a LoRA trained so is rendered so",
    ),
    "max_token_length": Says(_TOKENS.why, unless=said_is_above(75),
                             odd="unsupported: CLIP reads 75 tokens, the rest is cut"),
    "caption_extension": Says(
        "captions are read from .txt files", unless=lambda v: str(v).strip(". ") != "txt",
        odd="captions are read from .txt files only: rename these",
    ),
    "save_model_as": Says(
        "LoRA files are safetensors", unless=lambda v: str(v).lower() in ("ckpt", "pt"),
        odd="LoRA files are safetensors here; a .ckpt or .pt can run code when it is opened",
    ),
    "scale_weight_norms": Says("unsupported: weights are not held to a largest norm"),
    "ip_noise_gamma": Says("unsupported: no noise is added to the input"),
    "multires_noise_iterations": Says(
        "unsupported: noise of several sizes", unless=said_is_above(0),
        odd="unsupported: noise of several sizes (multires, pyramid); plain noise is used, and "
        "model.noise.offset does something similar",
    ),
    "zero_terminal_snr": Says(
        "the model's own noise schedule is used", unless=is_on,
        odd="unsupported: the noise schedule is the model's own; a model made for zero terminal "
        "SNR says so in its scheduler",
    ),
    "debiased_estimation_loss": Says(
        "loss weighting: model.noise.min_snr_gamma is ours", unless=is_on,
        odd="unsupported: debiased estimation; model.noise.min_snr_gamma = 5 is the nearest",
    ),
    "min_timestep": Says("all times are trained", unless=said_is_above(0),
                         odd="unsupported: all times are trained, from 0 on"),
    "max_timestep": Says("all times are trained", unless=lambda v: 0 < number(v) < 1000,
                         odd="unsupported: all times are trained, up to 1000"),
    "masked_loss": Says("masks are not read", unless=is_on,
                        odd="unsupported: masks are not read; whole pictures are learned from"),
    "alpha_mask": Says("transparent parts are laid on dataset.background", unless=is_on,
                       odd="unsupported: transparency is no mask here; it is laid on "
                       "dataset.background"),
    "random_crop": Says("pictures are cut at the middle", unless=is_on,
                        odd="unsupported: pictures are cut at the middle"),
    "color_aug": Says("colours stay as they are", unless=is_on,
                      odd="unsupported: colours stay as they are"),
    "full_fp16": Says("what trains is always fp32", unless=is_on,
                      odd="what trains is always fp32 here: in fp16, small updates are lost"),
    "full_bf16": Says("what trains is always fp32"),
    "train_norm": Says("norms are not trained"),
    "dora_wd": Says("DoRA is not there", unless=is_on,
                    odd="unsupported: DoRA; a plain LoRA is trained (files with DoRA do not look "
                    "the same in all programs)"),
    "weighted_captions": Says("weights in captions are not read", unless=is_on,
                              odd="unsupported: `(word:1.2)` is read as it stands"),
    "resume": Says("`sweetspot train --resume` continues runs of ours only"),
    **each("network_weights base_weights base_weights_multiplier dim_from_weights",
           Says("unsupported: training starts from a fresh adapter")),
    **each("vae ae clip_l clip_g t5xxl qwen_vl gemma2",
           Says("a model's folder holds its own parts; put this one into it")),
    **each("logging_dir log_with log_prefix log_tracker_name wandb_run_name log_tracker_config "
           "log_config console_log_level console_log_file console_log_simple", _LOGS),
    **each("wandb_api_key huggingface_token", _SECRET),
    **each("huggingface_repo_id huggingface_repo_type huggingface_path_in_repo "
           "huggingface_repo_visibility save_state_to_huggingface resume_from_huggingface "
           "async_upload", _UPLOADS),
    **each("metadata_title metadata_author metadata_description metadata_license metadata_tags "
           "metadata_usage_hint metadata_thumbnail metadata_merged_from metadata_trigger_phrase "
           "metadata_preprocessor metadata_is_negative_embedding training_comment no_metadata",
           _NAMES),
    **each("num_cpu_threads_per_process num_processes num_machines multi_gpu gpu_ids "
           "main_process_port extra_accelerate_launch_args ddp_timeout "
           "ddp_gradient_as_bucket_view ddp_static_graph", _LAUNCH),
    **each("dynamo_backend dynamo_mode dynamo_use_fullgraph dynamo_use_dynamic", _DYNAMO),
    **each("deepspeed zero_stage offload_optimizer_device offload_optimizer_nvme_path "
           "offload_param_device offload_param_nvme_path zero3_init_flag zero3_save_16bit_model "
           "fp16_master_weights_and_gradients", _LAUNCH),
    **each("lowram highvram lowvram mem_eff_save cpu_offload_checkpointing single_blocks_to_swap "
           "double_blocks_to_swap split_mode fused_backward_pass fused_optimizer_groups "
           "blockwise_fused_optimizers flux_fused_backward_pass sd3_fused_backward_pass "
           "disable_mmap_load_safetensors skip_cache_check no_half_vae vae_batch_size "
           "text_encoder_batch_size t5xxl_device t5xxl_dtype split_qkv fp8_scaled fp8_vl "
           "text_encoder_cpu", _MEMORY),
    **each("save_state save_state_on_train_end save_last_n_epochs save_last_n_epochs_state "
           "save_last_n_steps save_last_n_steps_state save_n_epoch_ratio output_dir "
           "output_config skip_until_initial_step initial_epoch initial_step", _STATE),
    **each("cache_latents cache_latents_to_disk cache_text_encoder_outputs_to_disk cache_info "
           "tokenizer_cache_dir", _CACHE),
    "cache_text_encoder_outputs": Decides("text_encoder.train", idle=_CACHE.why),
    **each("max_data_loader_n_workers persistent_data_loader_workers debug_dataset "
           "dataset_class show_timesteps show_timesteps_resolution", _THREADS),
    **each("keep_tokens_separator secondary_separator caption_separator enable_wildcard "
           "caption_prefix caption_suffix token_warmup_min token_warmup_step "
           "caption_dropout_every_n_epochs no_token_padding", _WORDS),
    **each("min_bucket_reso max_bucket_reso resize_interpolation face_crop_aug_range", _BUCKETS),
    **each("xformers sdpa mem_eff_attn attn_mode split_attn use_flash_attn use_sage_attn",
           _ATTENTION),
    **each("sample_sampler sample_at_first sample_batch_size", _SAMPLER),
    "sample_every_n_steps": Says("samples are rendered after epochs: samples.every"),
    "loss_type": Says("the loss is the squared error", unless=lambda v: str(v) != "l2",
                      odd="unsupported: the loss is the squared error; Huber's and others are not "
                      "there"),
    **each("huber_schedule huber_c huber_scale", Says("of Huber's loss, which is not there")),
    **each("scale_v_pred_loss_like_noise_pred v_pred_like_loss", _LOSS),
    **each("noise_offset_random_strength adaptive_noise_scale multires_noise_discount "
           "ip_noise_gamma_random_strength noise_offset_type",
           Says("of kinds of noise that are not there; model.noise.offset is")),
    **each("rank_dropout module_dropout block_dims block_alphas conv_block_dims "
           "conv_block_alphas down_lr_weight mid_lr_weight up_lr_weight block_lr_zero_threshold "
           "block_lr loraplus_lr_ratio loraplus_unet_lr_ratio loraplus_text_encoder_lr_ratio "
           "img_attn_dim img_mlp_dim img_mod_dim single_dim txt_attn_dim txt_mlp_dim txt_mod_dim "
           "single_mod_dim in_dims train_lora_ggpo ggpo_sigma ggpo_beta verbose emb_dims "
           "context_attn_dim context_mlp_dim context_mod_dim x_attn_dim x_mlp_dim x_mod_dim "
           "network_reg_lrs network_reg_dims train_t5xxl enable_all_linear", _NETWORK),
    **each("factor bypass_mode use_cp use_tucker use_scalar rank_dropout_scale constrain rescaled "
           "decompose_both train_on_input unit block_size constraint preset full_matrix "
           "weight_decompose use_conv_cp dora_on_output rs_lora wd_on_output disable_conv_cp",
           Says("of LyCORIS' other methods")),
    **each("apply_t5_attn_mask apply_lg_attn_mask", _T5),
    **each("clip_l_dropout_rate clip_g_dropout_rate t5_dropout_rate pos_emb_random_crop_rate "
           "enable_scaled_pos_embed save_clip save_t5xxl",
           Says("unsupported: of sd-scripts' SD 3 alone")),
    "stop_text_encoder_training": Says("unsupported: a text encoder trains to the end"),
    **each("lr_scheduler_num_cycles lr_scheduler_power lr_scheduler_args lr_decay_steps "
           "lr_scheduler_timescale lr_scheduler_min_lr_ratio lr_restart_cycles",
           Says("of schedules that are not there")),
    "lr_scheduler_args.**": Says("of schedules that are not there"),
    **each("validation_seed validate_every_n_steps max_validation_steps",
           Says("validation.every counts epochs, with fixed noise")),
    **each("support_dreambooth config_file in_json token_string init_word num_vectors_per_token "
           "weights use_object_template use_style_template template cond_emb_dim",
           Says("of other trainings than a LoRA's")),
    "conditioning_data_dir": Says(
        "unsupported: control pictures and masks", unless=lambda v: bool(str(v).strip()),
        odd="unsupported: control pictures and masks are not read"),
    **each("gemma2_max_token_length system_prompt qwen3 llm_adapter_path llm_adapter_lr "
           "self_attn_lr cross_attn_lr mlp_lr mod_lr t5_tokenizer_path qwen3_max_token_length "
           "t5_max_token_length vae_chunk_size vae_disable_cache text_encoder byt5", _OTHER),
    "model_type": Says("FLUX.1, unless `chroma`", unless=lambda v: str(v).lower() == "chroma",
                       odd="unsupported: Chroma"),
    "train_inpainting": Says("inpainting models are not trained", unless=is_on,
                             odd="unsupported: inpainting models"),
    "use_safetensors": Says("LoRA files are safetensors"),
    **each("caption_extention ckpt controlnet_model_name_or_path optimizer_schedulefree_wrapper "
           "schedulefree_wrapper_args perlin_noise support_controlnet support_dropout "
           "support_finetuning", Says("of sd-scripts' other trainings and older versions")),
    **each("network_args optimizer_args", Says("no further arguments")),
}  # fmt: skip
# A LoRA module takes some of these as its own arguments too.
for _name in [n for n, rule in TABLE.items() if isinstance(rule, Says)]:
    TABLE.setdefault(f"network_args.{_name}", TABLE[_name])
