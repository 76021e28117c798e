"""What any page of ours needs: media made anew under blind addresses, and a guard."""
