#pragma once
#include "apps/train/config.h"
#include "data/loader.h"

namespace vitrine::apps {

/// What a model trained by `config` sees of an image: the data's mean and deviation; the size of --image-size, of the
/// data or, where its images have sizes of their own, of the model; there also the evaluation crop, unless the input
/// has at most 32 pixels a side (as in the reference, such images are seen whole).
data::Preprocessing input_of(const TrainConfig& config, const data::Dataset& dataset);

/// The batches that `config` trains on. Images with sizes of their own are cropped at random and resized, unless
/// --pad-crop or --simple-crop is given or the input has at most 32 pixels a side.
/// @param classes  of the model
/// @throws UsageError naming the flag that is out of range or does not fit
data::LoaderOptions loader_options(const TrainConfig& config, const data::Dataset& dataset,
                                   const data::Preprocessing& input, int64_t classes, int workers);

}  // namespace vitrine::apps
