"""The one loop over weights, and the small matrices it leaves behind."""
