#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/attention.h"
#include "nn/module.h"

/// Image classifiers by name: what training, evaluation and inspection need to know of a model.
namespace vitrine::models {

/// Absolute position encoding: a learned table, a fixed two-dimensional sinusoid, none, or CPVT's generators
/// (nn::PositionGenerator), which read positions off the image's border.
enum class Ape { learned, sincos, none, peg };
std::string to_string(Ape ape);  ///< as parse_ape reads it
/// Reads learned, sincos, none, peg. @throws ValueError naming them
Ape parse_ape(const std::string& text);

/// How a distilled model joins what its two heads say: the mean of their logits, as the reference program does, or the
/// logarithm of the mean of their softmax, as the paper has it (softmax of that is this mean).
enum class HeadFusion { logits, softmax };

/// What may differ from a model's preset.
struct ClassifierOptions {
  std::optional<int64_t> num_classes = {}, image_size = {};
  /// As nn::parse_rpe_choice: "rpe-1.9-product-ctx-1-k", "huang", "none". Swin takes no rivals (shaw is none), and
  /// gives its bias up
  std::optional<std::string> rpe = {};
  std::optional<Ape> ape = {};
  double drop_path = 0;  ///< rate of the last block; blocks before it have proportionally less
  double dropout = 0;
};

/// A line of `vitrine summary`: a layer with what it holds and computes for one image.
struct LayerCost {
  std::string name, kind;
  int64_t parameters = 0;
  int64_t macs = 0;         ///< by the counting rule of the iRPE paper (irpe 8.3)
  int64_t macs_matmul = 0;  ///< matrix products alone, RPE on values by buckets
};

class Classifier : public nn::Module {
 public:
  using Module::Module;
  HeadFusion fusion = HeadFusion::logits;  ///< of a model with one head it says nothing
  /// @param images  [B, 3, S, S], normalised; the model computes in their dtype
  /// @return        [B, classes]
  virtual Tensor logits(const Tensor& images) = 0;
  /// Whether it has a head for what a teacher says.
  virtual bool distilled() const { return false; }
  /// The logits of both heads, the teacher's second; of a model with one head that is undefined.
  virtual std::array<Tensor, 2> heads(const Tensor& images) { return {logits(images), Tensor()}; }
  virtual int64_t image_size() const = 0;
  virtual int64_t num_classes() const = 0;
  /// Where the tokens stand that the patch embedding makes. Layers of a hierarchical model work on coarser grids too.
  virtual nn::TokenGrid grid() const = 0;
  virtual std::vector<LayerCost> costs() const = 0;
};

/// Names of all registered classifiers.
std::vector<std::string> classifier_names();
/// @throws ValueError naming the nearest valid names, or the option that does not fit
std::unique_ptr<Classifier> make_classifier(nn::Scope scope, const std::string& name,
                                            const ClassifierOptions& options = {});

}  // namespace vitrine::models
