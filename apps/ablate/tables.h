#pragma once
#include <string>
#include <vector>

/// The ablations of the iRPE paper (Wu et al., ICCV 2021) with what it reports: top-1 accuracy on ImageNet-1k of DeiT-S
/// after 300 epochs, in percent.
namespace vitrine::apps {

struct AblationRow {
  std::string name;
  std::string ape, rpe;  ///< as --ape and --rpe take them
  double paper;
};

struct AblationTable {
  int number = 0;
  std::string title, note;        ///< the note says what a reader of the figures must know
  std::vector<AblationRow> rows;  ///< the first is the baseline of the others
};

/// Table 1 (methods), 2 (sharing over heads), 3 (index function) or 4 (absolute positions; q, k and v). The paper's
/// encodings, ratios included: g acts on distances in patches, so a smaller grid uses fewer buckets of the same ones.
/// @throws UsageError for another number
const AblationTable& ablation_table(int number);

}  // namespace vitrine::apps
