#pragma once
#include "nn/module.h"

/// The same weights go by several names: those of the authors' programs, which are ours, and those of libraries.
namespace vitrine::models {

/// Weights under the names of the authors' programs. Known are:
///
///     module.*                                  what data-parallel wrappers put in front of every name
///     vit.*, deit.*, classifier.*, cls_classifier.*, distillation_classifier.*
///                                               Hugging Face's ViT and DeiT, as files and as its program have them;
///                                               query, key and value, in this order, become the rows of qkv
///     layers.{s + 1}.downsample.*, head.fc.*    timm's Swin, which has the step between two stages in the second one
///
/// Other names stay as they are, as do parts of a qkv that is not whole: loading tells of them.
nn::NamedTensors official_names(nn::NamedTensors weights);

}  // namespace vitrine::models
