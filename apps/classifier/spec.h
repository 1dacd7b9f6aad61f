#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/checkpoint/checkpoint.h"
#include "data/datasets/dataset.h"
#include "models/pretrained.h"

/// A trained classifier as a file: weights under their official names, and in the metadata what turns an image into an
/// input and an output into a label. Shared by train, eval, predict and inspect.
namespace vitrine::apps {

struct ClassifierSpec {
  std::string model;                       ///< a name of models::classifier_names()
  models::ClassifierOptions options = {};  ///< num_classes and image_size are set
  std::string data;                        ///< the data string it was trained on, and the seed of generated data
  uint64_t data_seed = 0;
  data::Preprocessing preprocessing;
  std::vector<std::string> labels;
  bool multi_label = false;  ///< an image may have several classes: logits are of one each, not of a choice

  nlohmann::ordered_json json() const;
  /// @throws IoError, beginning with `where`, unless the document is one that json() gives
  static ClassifierSpec from_json(const nlohmann::ordered_json& document, const std::string& where);
  /// Compares names and shapes with those of the model before make() asks for memory: a few bytes can describe a model
  /// that fills it. @throws IoError, beginning with `where`, unless all parameters of the model are there; ValueError
  /// as make_classifier
  void check_weights(const nn::NamedTensors& weights, const std::string& where) const;
  std::unique_ptr<models::Classifier> make(Device device, Generator& rng) const;
  /// The test images of `data`. @throws as open_dataset, but IoError, beginning with `where`, for a string that it does
  /// not take
  std::unique_ptr<data::Dataset> open_test(const std::string& where) const;
};

/// Metadata keys of a checkpoint.
inline constexpr const char* kSpecKey = "vitrine.classifier";
inline constexpr const char* kTrainingKey = "vitrine.training";
/// Prefixes of what stands beside the weights in checkpoint.safetensors.
inline constexpr const char* kOptimizerPrefix = "optimizer.";
inline constexpr const char* kEmaPrefix = "ema.";

/// The value of a metadata key. @throws IoError naming the file if it is not there or no JSON object
nlohmann::ordered_json metadata_json(const data::Safetensors& file, const std::string& name, const char* key);
/// The tensors whose names begin with `prefix`, without it; for "" those that are weights.
nn::NamedTensors tensors_with_prefix(const data::Safetensors& file, const std::string& prefix);

/// What a file of weights alone does not say. Empty and 0: nothing is said, or the model's own.
struct WeightsOf {
  std::string model, rpe, ape;
  int64_t image_size = 0;
  std::string key;                     ///< entry of a .pth file
  std::string pos_resize = "bicubic";  ///< a name of models::PositionResize
  bool operator==(const WeightsOf&) const = default;
};

/// A model with its weights, in evaluation mode.
struct LoadedClassifier {
  ClassifierSpec spec;
  std::unique_ptr<models::Classifier> model;
  std::optional<models::PretrainedReport> report;  ///< of weights alone
};
/// Loads a checkpoint of `train`, or a file of weights alone (safetensors, .pth, .npz) into the model that `weights`
/// names. Weights alone tell the number of classes; inputs are then cropped and normalised as the reference programs do
/// for ImageNet, and classes have numbers for labels.
/// @param ema  take the averaged weights
/// @throws IoError if the file cannot be read, is of no known model, or holds weights that do not fit; UsageError if it
///         states its model and `weights` does too
LoadedClassifier load_classifier(const std::string& file, Device device, bool ema = false,
                                 const WeightsOf& weights = {}, data::NameHash hash = data::NameHash::verify);
/// The same of a file that has been read.
LoadedClassifier load_classifier(const data::Safetensors& content, const std::string& file, Device device,
                                 bool ema = false, const WeightsOf& weights = {});
/// Whether a file is a checkpoint of `train`, or else weights alone.
bool states_model(const data::Safetensors& content);

}  // namespace vitrine::apps
