#include "apps/classifier/spec.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "apps/classifier/weights.h"
#include "apps/classifier/whole_number.h"
#include "apps/cli.h"
#include "core/error.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

/// Runs `read`; what goes wrong in it is a malformed document.
template <class F>
auto reading(const std::string& where, F&& read) {
  try {
    return read();
  } catch (const Json::exception& e) {
    throw IoError(format("{}: malformed description of the model: {}", where, one_line(e.what())));
  } catch (const ValueError& e) {
    throw IoError(format("{}: {}", where, one_line(e.what())));
  } catch (const ShapeError& e) {
    throw IoError(format("{}: {}", where, one_line(e.what())));
  }
}

}  // namespace

Json ClassifierSpec::json() const {
  const data::Preprocessing& p = preprocessing;
  return {{"format", 1},
          {"model", model},
          {"num_classes", options.num_classes.value()},
          {"image_size", options.image_size.value()},
          {"rpe", options.rpe.value_or("")},
          {"ape", options.ape ? models::to_string(*options.ape) : ""},
          {"drop_path", options.drop_path},
          {"dropout", options.dropout},
          {"data", data},
          {"data_seed", data_seed},
          {"preprocessing",
           {{"height", p.height},
            {"width", p.width},
            {"grey", p.grey},
            {"mean", p.mean},
            {"std", p.std},
            {"crop", p.crop}}},
          {"labels", labels},
          {"multi_label", multi_label}};
}

ClassifierSpec ClassifierSpec::from_json(const Json& document, const std::string& where) {
  return reading(where, [&] {
    const auto whole = [&]<class T>(const Json& object, const char* key, T& out) {
      out = whole_number<T>(object.at(key), key);
    };
    check<IoError>(document.at("format") == 1, "{}: format {} of a newer program; this one reads 1", where,
                   document.at("format").dump());
    ClassifierSpec spec;
    spec.model = document.at("model").get<std::string>();
    whole(document, "num_classes", spec.options.num_classes.emplace());
    whole(document, "image_size", spec.options.image_size.emplace());
    if (const auto rpe = document.at("rpe").get<std::string>(); !rpe.empty()) spec.options.rpe = rpe;
    if (const auto ape = document.at("ape").get<std::string>(); !ape.empty()) spec.options.ape = models::parse_ape(ape);
    spec.options.drop_path = document.at("drop_path").get<double>();
    spec.options.dropout = document.at("dropout").get<double>();
    spec.data = document.at("data").get<std::string>();
    whole(document, "data_seed", spec.data_seed);
    const Json& p = document.at("preprocessing");
    whole(p, "height", spec.preprocessing.height);
    whole(p, "width", spec.preprocessing.width);
    p.at("grey").get_to(spec.preprocessing.grey);
    p.at("mean").get_to(spec.preprocessing.mean);
    p.at("std").get_to(spec.preprocessing.std);
    spec.preprocessing.crop = p.value("crop", 1.0);  // absent from files from before images had sizes of their own
    check<IoError>(spec.preprocessing.crop >= data::kSmallestCrop && spec.preprocessing.crop <= 1,
                   "{}: a crop of {}; it must be in [{}, 1]", where, spec.preprocessing.crop, data::kSmallestCrop);
    (void)data::PixelTable(spec.preprocessing);  // refuses a std of 0 and the like
    spec.labels = document.at("labels").get<std::vector<std::string>>();
    spec.multi_label = document.value("multi_label", false);  // absent from files of earlier programs
    constexpr int64_t kMost = 1 << 20;
    const int64_t classes = *spec.options.num_classes, size = *spec.options.image_size;
    check<IoError>(classes > 0 && classes < kMost && int64_t(spec.labels.size()) == classes,
                   "{}: {} classes with {} labels", where, classes, spec.labels.size());
    check<IoError>(size > 0 && size <= 4096 && spec.preprocessing.height == size && spec.preprocessing.width == size,
                   "{}: image size {} with preprocessing to {} x {}", where, size, spec.preprocessing.height,
                   spec.preprocessing.width);
    return spec;
  });
}

void ClassifierSpec::check_weights(const nn::NamedTensors& weights, const std::string& where) const {
  const auto blank = models::make_classifier({.blank = true}, model, options);
  std::map<std::string, Shape> given;
  for (const auto& [name, t] : weights) given.emplace(name, t.shape());
  const nn::NamedTensors wanted = blank->parameters();
  const bool all = std::all_of(wanted.begin(), wanted.end(), [&](const auto& p) {
    const auto found = given.find(p.first);
    return found != given.end() && found->second == p.second.shape();
  });
  if (all) return;
  reading(where, [&] { return blank->load_state_dict(weights); });  // throws, and names all that does not fit
}

std::unique_ptr<models::Classifier> ClassifierSpec::make(Device device, Generator& rng) const {
  return models::make_classifier({.device = device, .rng = &rng}, model, options);
}

std::unique_ptr<data::Dataset> ClassifierSpec::open_test(const std::string& where) const {
  return reading(where, [&] { return data::open_dataset(data, data::Split::test, data_seed); });
}

Json metadata_json(const data::Safetensors& file, const std::string& name, const char* key) {
  for (const auto& [k, value] : file.metadata)
    if (k == key) {
      const Json document = Json::parse(value, nullptr, false);
      check<IoError>(document.is_object(), "{}: the metadata '{}' is not a JSON object", name, key);
      return document;
    }
  throw IoError(format("{}: is no checkpoint of this program: it has no metadata '{}'", name, key));
}

nn::NamedTensors tensors_with_prefix(const data::Safetensors& file, const std::string& prefix) {
  nn::NamedTensors list;
  for (const auto& [name, t] : file.tensors) {
    if (prefix.empty() && (name.starts_with(kOptimizerPrefix) || name.starts_with(kEmaPrefix))) continue;
    if (name.starts_with(prefix)) list.emplace_back(name.substr(prefix.size()), t);
  }
  return list;
}

namespace {

LoadedClassifier load_weights_alone(const std::string& file, Device device, const nn::NamedTensors& weights,
                                    const WeightsOf& known) {
  LoadedClassifier loaded;
  loaded.spec.model = known.model;
  models::ClassifierOptions& options = loaded.spec.options;
  if (!known.rpe.empty()) options.rpe = known.rpe;
  if (!known.ape.empty()) options.ape = models::parse_ape(known.ape);
  if (known.image_size > 0) options.image_size = known.image_size;
  for (const auto& [name, t] : weights)
    if (name == "head.weight" && t.dim() == 2 && t.size(0) > 0) options.num_classes = t.size(0);
  Generator unused;
  loaded.model = loaded.spec.make(device, unused);
  const int64_t size = loaded.model->image_size(), classes = loaded.model->num_classes();
  options.image_size = size, options.num_classes = classes;
  loaded.spec.preprocessing = {.height = size,
                               .width = size,
                               .grey = false,
                               .mean = {0.485, 0.456, 0.406},
                               .std = {0.229, 0.224, 0.225},
                               .crop = size > data::kSmallInput ? data::kEvaluationCrop : 1};
  for (int64_t c = 0; c < classes; ++c) loaded.spec.labels.push_back(format("class {}", c));
  loaded.report = load_weights(*loaded.model, weights, models::Fit::evaluate, file,
                               models::parse_position_resize(known.pos_resize));
  loaded.model->eval();
  return loaded;
}

}  // namespace

bool states_model(const data::Safetensors& content) {
  return std::any_of(content.metadata.begin(), content.metadata.end(),
                     [](const auto& entry) { return entry.first == kSpecKey; });
}

LoadedClassifier load_classifier(const std::string& file, Device device, bool ema, const WeightsOf& known,
                                 data::NameHash hash) {
  return load_classifier(data::read_checkpoint(file, known.key, hash).content, file, device, ema, known);
}

LoadedClassifier load_classifier(const data::Safetensors& content, const std::string& file, Device device, bool ema,
                                 const WeightsOf& known) {
  if (!states_model(content)) {
    check<IoError>(!known.model.empty(),
                   "{}: is no checkpoint of this program: it has no metadata '{}'; weights alone need --model NAME",
                   file, kSpecKey);
    check<IoError>(!ema, "{}: holds no averaged weights; a .pth file may have them under --key model_ema", file);
    return load_weights_alone(file, device, weights_of(content), known);
  }
  check<UsageError>(known == WeightsOf{},
                    "{}: states its own model; leave out --model, --rpe, --ape, --image-size and --pos-resize", file);
  LoadedClassifier loaded;
  loaded.spec = ClassifierSpec::from_json(metadata_json(content, file, kSpecKey), file);
  const nn::NamedTensors weights = tensors_with_prefix(content, ema ? kEmaPrefix : "");
  check<IoError>(!ema || !weights.empty(), "{}: holds no averaged weights; train with --ema", file);
  Generator unused;
  reading(file, [&] {
    loaded.spec.check_weights(weights, file);
    loaded.model = loaded.spec.make(device, unused);
    return loaded.model->load_state_dict(weights);
  });
  loaded.model->eval();
  return loaded;
}

}  // namespace vitrine::apps
