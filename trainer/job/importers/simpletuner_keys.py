"""What SimpleTuner's settings are here."""

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

_LOGS = Says("logging: a run tells everything in events.jsonl in its folder")
_UPLOADS = Says("uploading: Sweetspot sends nothing anywhere")
_STATE = Says("a run always keeps the state to resume from, and cleans up after itself")
_CACHE = Says("pictures and captions are always encoded once and kept in a cache")
_MEMORY = Says("how their program spares memory; `[memory]` says how ours does")
_LAUNCH = Says("how accelerate starts its processes; docs/cluster.md says how ours are")
_OTHER = Says("of models that Sweetspot does not train")
_LOSS = Says("unsupported: a loss of its own; the loss is the squared error")
_TIMES = Says("unsupported: its own choice of times; model.flow is ours")
_SHOW = Says("samples: how SimpleTuner renders them; ours are square, after epochs")
_JUDGED = Says("judging: `sweetspot analyse` compares epochs, after training")
_FILES = Says("how their program finds and reads files; ours does by itself")
_PARTS = Says("a model's folder holds its own parts; put this one into it")
_VIDEO = Says("of films and sound, which Sweetspot does not train")
_START = Says("unsupported: training starts from a fresh adapter")
_CONTROL = Says("unsupported: control pictures")
_BUCKET = Says("pictures are scaled to model.resolution's area and cut at the middle")
_DETAIL = Says("a detail of the optimizer that is not to be set here")
_CODE = Says("unsupported: programs named in settings are never run", unless=lambda v: bool(v),
             odd="unsupported: programs named in settings are never run")  # fmt: skip

_BACKEND: dict[str, Rule] = {
    "id": Says("a name within the file"),
    "type": Says("where pictures come from: a folder"),
    "dataset_type": Says("pictures; a cache needs no entry here"),
    "instance_data_dir": Decides("dataset.folder, prior.folder", idle="another one is taken"),
    "instance_prompt": Decides("dataset.template", idle="another one's, or no template"),
    "repeats": Decides("dataset.repeats", "one more", idle="another one's"),
    "resolution": Decides("model.resolution", idle="another one's is taken"),
    **each("is_regularisation_data is_regularization_data", Says(
        "class pictures turn prior preservation on")),
    "caption_strategy": Says(
        "captions lie beside the pictures, or come from the template",
        unless=lambda v: str(v).lower() in ("parquet", "csv"),
        odd="captions come from .txt files beside the pictures or a metadata.csv among them"),
    "probability": Says("unsupported: one folder, each picture as often",
                        unless=lambda v: number(v) != 1,
                        odd="unsupported: one folder, each picture as often"),
    "caption_shuffle": Says("dataset.shuffle_tags is ours"),
    "caption_shuffle.enable": Maps("dataset.shuffle_tags"),
    "caption_shuffle.position_start": Maps("dataset.keep_tags"),
    **each("only_instance_prompt prepend_instance_prompt caption_filter_list "
           "disable_multiline_split caption_shuffle.**", Says(
               "unsupported: how captions are altered beyond tags")),
    **each("resolution_type crop crop_aspect crop_aspect_buckets crop_style minimum_image_size "
           "maximum_image_size target_downsample_size minimum_aspect_ratio "
           "maximum_aspect_ratio", _BUCKET),
    **each("cache_dir cache_dir_vae cache_file_suffix cache_dir_conditioning_image_embeds "
           "text_embeds image_embeds conditioning_image_embeds text_embed_cache vaecache "
           "hash_filenames shorten_filenames compress_cache default write_batch_size "
           "vae_cache_clear_each_epoch vae_cache_ondemand vae_cache_disable "
           "vae_cache_scan_behaviour text_cache_ondemand text_cache_disable vae_batch_size "
           "preserve_data_backend_cache distillation_type distillation_cache", _CACHE),
    **each("metadata_backend skip_file_discovery scan_for_errors delete_unwanted_images "
           "delete_problematic_images delete_nsfw_images metadata_update_interval disabled "
           "disable start_step start_epoch end_step end_epoch disable_after_epoch_step "
           "disable_validation max_num_samples read_batch_size max_workers bucket_report "
           "image_processing_batch_size train_batch_size timestep_sampling_offset "
           "instance_data_root source shuffle filter_func auto_generated", _FILES),
    **each("dataset_name huggingface huggingface.** image_column caption_column video_column "
           "split revision parquet parquet.** csv csv.** csv_file csv_caption_column "
           "csv_url_column csv_cache_dir aws_bucket_name aws_region_name aws_endpoint_url "
           "aws_data_prefix aws_max_pool_connections webshart webshart.** audio_column "
           "composite_image_column split_composite_images streaming", Says(
               "pictures from elsewhere than a folder: fetch them into one")),
    **each("aws_access_key_id aws_secret_access_key aws_session_token webshart_hf_token",
           Says("a secret, which no settings file should hold", secret=True)),
    **each("conditioning conditioning.** conditioning_type conditioning_data source_dataset_id "
           "slider_strength conditioning_config conditioning_config.** grounding grounding.** "
           "grounding_data", _CONTROL),
    **each("video video.** audio audio.**", _VIDEO),
}  # fmt: skip

_LYCORIS: dict[str, Rule] = {
    "algo": Decides("adapter.kind"),
    "linear_dim": Decides("adapter.rank"),
    "linear_alpha": Decides("adapter.alpha"),
    "multiplier": Says("how strongly it acts at use: always 1 while training"),
    "**": Says("of LyCORIS' other methods"),
}

TABLE: dict[str, Rule] = {
    **each("model_family", Decides("model.kind")),
    "model_type": Decides("adapter.kind"),
    "model_flavour": Says("which of the family's models: model.base says it",
                          unless=lambda v: str(v).lower() in ("kontext", "fill"),
                          odd="unsupported: models that take a picture to change"),
    "controlnet": Says("ControlNets are not trained"),
    "pretrained_model_name_or_path": Decides("model.base"),
    "prediction_type": Decides("model.noise.prediction", idle="of flow matching"),
    "data_backend_config": Decides("dataset", "the file is read too where it is found"),
    **under("data_backend_config.*", _BACKEND),
    "lycoris_config": Decides("adapter", "the file is read too where it is found"),
    **under("lycoris_config", _LYCORIS),
    "lora_type": Says("`standard` is a plain LoRA; lycoris_config says of what kind others are"),
    "lora_rank": Decides("adapter.rank", "16 where none is given"),
    "lora_alpha": Decides("adapter.alpha", "the rank where none is given",
                          idle="the rank is taken for it"),
    "lora_dropout": Decides("adapter.dropout", "0.1 where none is given"),
    "flux_lora_target": Decides("adapter.targets", idle="of FLUX.1"),
    "use_dora": Decides("adapter.kind", idle="it is off"),
    **each("lora_init_type peft_lora_mode singlora_ramp_up_steps lora_format "
           "slider_lora_target peft_lora_target_modules init_lokr_norm acestep_lora_target",
           Says("a detail of its adapters that is not to be set here")),
    **each("init_lora init_lora_step init_lora_ema", _START),
    "assistant_lora_*": Says("unsupported: an adapter that helps another to train"),
    "disable_assistant_lora": Says("unsupported: an adapter that helps another to train"),
    "optimizer": Decides("optimizer.kind"),
    "optimizer_config": Says("no further arguments"),
    "optimizer_config.**": Decides("optimizer.weight_decay, optimizer.beta1, optimizer.beta2"),
    "learning_rate": Decides("optimizer.learning_rate"),
    **each("adam_beta1 optimizer_beta1", Decides("optimizer.beta1")),
    **each("adam_beta2 optimizer_beta2", Decides("optimizer.beta2")),
    "adam_weight_decay": Decides("optimizer.weight_decay"),
    **each("train_text_encoder text_encoder_lr", Decides(
        "text_encoder.train, text_encoder.learning_rate", idle="text encoders do not train")),
    "max_grad_norm": Decides("schedule.clip"),
    "grad_clip_method": Says("schedule.clip holds the gradient's length, which is `norm`"),
    **each("max_train_steps num_train_epochs", Decides("schedule.steps, schedule.epochs")),
    "lr_scheduler": Decides("schedule.kind"),
    "lr_warmup_steps": Decides("schedule.warmup", "divided by the run's steps"),
    **each("lr_end lr_scale lr_scale_sqrt lr_num_cycles lr_power",
           Says("of schedules that are not there")),
    "train_batch_size": Maps("schedule.batch_size"),
    "gradient_accumulation_steps": Maps("schedule.accumulate"),
    "seed": Maps("schedule.seed"),
    "use_ema": Decides("schedule.ema", idle="it is off"),
    "ema_decay": Decides("schedule.ema", idle="a running mean is off"),
    "ema_*": Says("how the running mean is kept: at each step, where the adapter is"),
    "mixed_precision": Maps("compute.precision", "`no` is fp32", PRECISION),
    "gradient_checkpointing": Maps("compute.gradient_checkpointing"),
    "gradient_checkpointing_*": _MEMORY,
    **each("base_model_precision", Decides("memory.base", idle="weights are held as they are")),
    **each("text_encoder_1_precision text_encoder_2_precision text_encoder_3_precision",
           Decides("memory.text", idle="weights are held as they are")),
    "text_encoder_4_precision": _OTHER,
    "musubi_blocks_to_swap": Decides("memory.offload", idle="no block is swapped"),
    "resolution": Decides("model.resolution", idle="a data backend says it"),
    "resolution_type": _BUCKET,
    "snr_gamma": Maps("model.noise.min_snr_gamma",
                      foreign="min-SNR weighs the prediction of noise; flow matching has none"),
    "noise_offset": Says("offset_noise turns it on, which SimpleTuner leaves off"),
    "offset_noise": Says("it is off", unless=is_on, odd="unsupported: now and then; "
                         "model.noise.offset = 0.1 is near where noise is predicted"),
    "caption_dropout_probability": Maps("dataset.caption_dropout"),
    "instance_prompt": Maps("dataset.template"),
    "validation_prompt": Decides("samples.prompts"),
    "validation_negative_prompt": Decides("samples.negative"),
    "validation_guidance": Maps("samples.guidance"),
    "validation_num_inference_steps": Maps("samples.steps"),
    "validation_seed": Maps("samples.seed"),
    "validation_epoch_interval": Maps("samples.every"),
    **each("tracker_run_name hub_model_id", Decides(
        "name", "letters that a file cannot have become dashes", idle=_LOGS.why)),
    "checkpoint_step_interval": Maps("save.every_steps"),
    "checkpointing_steps": Maps("save.every_steps"),
    "checkpoint_epoch_interval": Maps("save.every_epochs"),
    "tokenizer_max_length": Maps("model.max_tokens"),
    "flow_schedule_shift": Decides("model.flow.shift", idle="of flow matching, or by size"),
    "flow_schedule_auto_shift": Decides("model.flow.shift", idle="it is off"),
    "flow_sigmoid_scale": Decides("model.flow.spread", idle="of flow matching"),
    "flow_use_uniform_schedule": Decides("model.flow.sampling", idle="it is off"),
    "flow_*": _TIMES,
    "flux_guidance_value": Decides("model.guidance", idle="of FLUX.1, with constant guidance"),
    **each("flux_guidance_mode", Says("guidance while training is constant: model.guidance",
           unless=lambda v: str(v).lower() != "constant",
           odd="unsupported: guidance drawn at random; model.guidance is one number")),
    **each("flux_guidance_min flux_guidance_max flux_fast_schedule flux_attention_masked_training "
           "validation_no_cfg_until_timestep fuse_qkv_projections fused_qkv_projections "
           "custom_text_encoder_intermediary_layers", Says("a detail of FLUX.1 there")),
    "loss_type": Says("the loss is the squared error", unless=lambda v: str(v).lower() != "l2",
                      odd="unsupported: the loss is the squared error"),
    **each("huber_schedule huber_c snr_weight use_soft_min_snr soft_min_snr_sigma_data "
           "masked_loss_probability xm_* nextlat_* irepa_* crepa_* urepa_* twinflow_* layersync_* "
           "internal_guidance_* diff2flow_* mixflow_* scheduled_sampling_* distillation_* "
           "tread_* input_* diffusion_blocks_*", _LOSS),
    **each("distillation_config.** tread_config.** diffusion_blocks_config.**", _LOSS),
    **each("timestep_bias_* disable_segmented_timestep_sampling refiner_training "
           "refiner_training_* noise_offset_probability", _TIMES),
    **each("training_scheduler_timestep_spacing inference_scheduler_timestep_spacing",
           Says("the model's own scheduler is used")),
    "rescale_betas_zero_snr": Says(
        "the model's own noise schedule is used", unless=is_on,
        odd="unsupported: the noise schedule is the model's own"),
    **each("output_dir configs_dir cache_dir cache_dir_text cache_dir_vae logging_dir", Says(
        "where files go: the run's folder")),
    **each("push_to_hub push_checkpoints_to_hub push_to_hub_background publishing_config "
           "publishing_config.** model_card_* modelspec_comment", _UPLOADS),
    **each("post_checkpoint_script post_upload_script validation_external_script "
           "disk_low_script", _CODE),
    **each("report_to tracker_project_name tracker_image_layout custom_tracker webhook_config "
           "webhook_config.** webhook_reporting_interval merge_environment_config "
           "enable_watermark disable_benchmark print_* debug_*", _LOGS),
    **each("resume_from_checkpoint checkpoints_total_limit checkpointing_rolling_steps "
           "checkpoints_rolling_total_limit checkpointing_use_tempdir "
           "delete_invalid_checkpoints save_text_encoder", _STATE),
    **each("vae_batch_size text_encoder_batch_size write_batch_size read_batch_size "
           "image_processing_batch_size text_cache_* vae_cache_* text_embed_full_cache "
           "compress_disk_cache preserve_data_backend_cache keep_vae_loaded", _CACHE),
    **each("pretrained_vae_model_name_or_path pretrained_t5_model_name_or_path pretrained_* "
           "qwen_text_encoder_model_name_or_path text_encoder_path revision variant "
           "vae_path vae_dtype base_model_default_dtype", _PARTS),
    **each("quantize_via quantize_activations quantization_config quantization_config.** sdnq_* "
           "ramtorch ramtorch_* musubi_block_swap_device enable_group_offload group_offload_* "
           "offload_* unet_attention_slice enable_xformers_memory_efficient_attention "
           "vae_enable_* delete_model_after_load fully_unload_text_encoder gradient_precision "
           "optimizer_cpu_offload_method optimizer_offload_gradients optimizer_release_gradients "
           "fuse_optimizer disable_tf32 set_grads_to_none accelerator_cache_clear_interval "
           "enable_chunked_feed_forward feed_forward_chunk_size", _MEMORY),
    **each("attention_mechanism sageattention_usage sla_config sla_config.**", Says(
        "compute.attention chooses another than torch's")),
    **each("adam_epsilon prodigy_steps", _DETAIL),
    **each("num_processes num_machines accelerate_* main_process_* machine_rank same_network "
           "deepspeed_* fsdp_* context_parallel_* find_unused_parameters local_rank "
           "dynamo_* torch_num_threads seed_for_each_device", _LAUNCH),
    **each("user_prompt_library validation_prompt_library num_validation_images validation_* "
           "validate_after_* framerate", _SHOW),
    **each("eval_* num_eval_images evaluation_type", _JUDGED),
    **each("aspect_bucket_* minimum_image_size maximum_image_size target_downsample_size "
           "max_upscale_threshold disable_bucket_pruning allow_dataset_oversubscription "
           "strict_epoch_limit", _BUCKET),
    **each("caption_strategy prepend_instance_prompt only_instance_prompt parquet_* "
           "skip_file_discovery delete_unwanted_images delete_problematic_images "
           "ignore_missing_files data_backend_sampling override_dataset_config "
           "metadata_update_interval max_workers enable_multiprocessing dataloader_* "
           "aws_max_pool_connections enable_nsfw_check nsfw_check_* delete_nsfw_images "
           "data_aesthetic_score disk_low_threshold disk_low_action "
           "i_know_what_i_am_doing", _FILES),
    "trust_remote_code": Says("code from a model's folder is never run", unless=is_on,
                              odd="code from a model's folder is never run here"),
    **each("control control.** controlnet_* conditioning_multidataset_sampling "
           "max_grounding_entities", _CONTROL),
    **each("text_encoder_limit freeze_encoder_* freeze_encoder layer_freeze_strategy", Says(
        "text_encoder.which chooses among text encoders")),
    **each("audio_* lyrics_* minimax_* ltx_* ltx2_* ltx2_intrinsic_conditioning.** wan_* "
           "cosmos3_* ideogram_* hidream_* krea2_* sana_* deepfloyd_* pixart_* acestep_* "
           "sdxl_* sd3_*", _OTHER),
    "t5_padding": Says("T5's padding is as the model was made"),
    "offload_during_startup": _MEMORY,
    "model_max_length": Says("captions are read as far as the model can", unless=said_is_above(1e9),
                             odd=""),
}  # fmt: skip
del TABLE["model_max_length"]
