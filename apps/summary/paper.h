#pragma once

namespace vitrine::apps {

/// Prints parameters and multiply-adds of the transformers of Tab. 2 and Tab. 5 of the iRPE paper, and Fig. 4's cost
/// over resolutions, each beside the published figure.
void print_paper_tables(bool json);

}  // namespace vitrine::apps
